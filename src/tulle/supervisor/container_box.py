"""What this box can do with containers: found out by running one, and remembered until the box or podman changes."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator

from tulle.kit import mounts, namespaces, privileges
from tulle.supervisor.container_cgroup import clear_cgroup
from tulle.supervisor.container_filter import tightened
from tulle.supervisor.container_podman import Answer, Box, ask, find_podman, podman_environment
from tulle.supervisor.container_workshop import (
    WORKSHOP,
    confining_arguments,
    leave_network,
    make_workshop,
    seal_all_but_workshop,
    workshop_arguments,
    workshop_environment,
)
from tulle.supervisor.fork import fork
from tulle.supervisor.steps import StepFailed, step

RUNTIMES = ("crun", "runc")
_PROFILES = ("/usr/share/containers/seccomp.json", "/etc/containers/seccomp.json")
_FACTS = (
    "{{.Store.GraphRoot}}\t{{.Store.GraphDriverName}}\t{{with .Host.OCIRuntime}}{{.Name}}{{end}}\t{{.Version.Version}}"
)
_TREE = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")
_KINDS = namespaces.NEWNET | namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS | namespaces.NEWPID
_PROBE_CGROUP = "/tulle/probe"
_RAN = "ran"


def known_box(place: str) -> Box:
    """What is remembered in a directory of the mesh's; found out the first time. Raises StepFailed and OSError."""
    os.makedirs(place, mode=0o700, exist_ok=True)
    remembered = f"{place}/box.json"
    with _alone(f"{place}/lock"):
        stamp = _stamp()
        with contextlib.suppress(OSError, ValueError, TypeError), open(remembered, encoding="utf-8") as file:
            box = Box(**json.load(file))
            if box.stamp == stamp:
                return box
        box = find_out(place, stamp)
        with open(remembered, "w", encoding="utf-8") as file:
            json.dump(box._asdict(), file)
        return box


def find_out(place: str, stamp: str = "") -> Box:
    """Asks podman, and tries its runtimes until one runs a program in a pod. Raises StepFailed and OSError."""
    podman = find_podman()
    facts = ask([podman, "info", "--format", _FACTS], podman_environment())
    said = facts.out.strip("\n").split("\t")
    if facts.code or len(said) != 4:
        raise StepFailed("podman", f"podman info: {facts.last_words}")
    images, driver, usual, version = said
    box = Box(stamp, podman, version, images, driver, "", True, "", _write_profile(place))
    refusals: dict[str, str] = {}
    for limited in (True, False):
        for runtime in filter(None, dict.fromkeys((usual, *RUNTIMES))):
            tried = box._replace(runtime=runtime, limits=limited)
            if why := _why_not(tried):
                refusals.setdefault(runtime, why)
                continue
            return tried if limited else tried._replace(why_no_limits=_listed(refusals))
    raise StepFailed("runtime", _listed(refusals))


def _why_not(box: Box) -> str:
    """Runs a program of the box's in a container of a pod that ends with it; empty when that works."""
    report = os.memfd_create("tulle-words", os.MFD_CLOEXEC)
    parent = os.getpid()

    def middle() -> None:
        try:
            privileges.die_with(parent)
            namespaces.unshare(_KINDS)
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
                return
            os.write(report, _try(box).encode())
        except (OSError, StepFailed) as fault:
            os.write(report, str(fault).encode())

    try:
        os.waitpid(fork(middle, (report,)), 0)
        said = os.pread(report, 1000, 0).decode("utf-8", "replace")
    finally:
        os.close(report)
        clear_cgroup(_PROBE_CGROUP)
    return "" if said == _RAN else said or "the attempt ended without an answer"


def _try(box: Box) -> str:
    privileges.die_with(0)
    mounts.keep_to_ourselves()
    mounts.mount("proc", "/proc", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)
    make_workshop(box)
    seal_all_but_workshop()
    root = f"{WORKSHOP}/root"
    os.mkdir(root)
    shown = []
    for name in ("usr", *_TREE):
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
        elif os.path.isdir(f"/{name}"):
            shown += ["--volume", f"/{name}:/{name}:ro"]
    env = workshop_environment()
    create = [
        *workshop_arguments(box), "create", "--name", "probe", *confining_arguments(box, _PROBE_CGROUP, 1024), *shown,
        *(("--memory=64m", "--cpus=0.5") if box.limits else ()),
        *("--user", "65534:65534", "--rootfs", root, "true"),
    ]  # fmt: skip
    made = ask(create, env)
    if made.code:
        return made.last_words
    words = os.open(f"{WORKSHOP}/words", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    started = ask(
        [*workshop_arguments(box), "start", "--attach", "probe"], env, outputs=(words, words), before=leave_network
    )
    return (
        _RAN
        if started.code == 0
        else Answer(started.code, "", os.pread(words, 4000, 0).decode("utf-8", "replace")).last_words
    )


def _write_profile(place: str) -> str:
    source = next((one for one in _PROFILES if os.path.exists(one)), "")
    if not source:
        raise StepFailed("filter", f"podman's list of system calls is in none of {', '.join(_PROFILES)}")
    target = f"{place}/seccomp.json"
    with step("filter"), open(source, encoding="utf-8") as file:
        text = file.read()
    try:
        text = tightened(text, os.uname().machine)
    except (ValueError, KeyError, TypeError) as fault:
        raise StepFailed("filter", f"{source} is no list of system calls: {fault!r}") from None
    with step("filter"), open(target, "w", encoding="utf-8") as file:
        file.write(text)
    return target


def _stamp() -> str:
    """Changes when podman, a runtime or what they are configured by does."""
    parts = [os.environ.get("CONTAINERS_STORAGE_CONF", ""), os.environ.get("CONTAINERS_CONF", ""), *_PROFILES]
    paths = [
        f"{directory}/{name}" for directory in os.environ.get("PATH", "").split(":") for name in ("podman", *RUNTIMES)
    ]
    for path in (
        *paths,
        *(one for one in parts if one),
        "/etc/containers/storage.conf",
        "/etc/containers/containers.conf",
    ):
        with contextlib.suppress(OSError):
            facts = os.stat(path)
            parts.append(f"{path} {facts.st_mtime_ns} {facts.st_size}")
    return "\n".join(parts)


def _listed(refusals: dict[str, str]) -> str:
    return "; ".join(f"{runtime}: {why}" for runtime, why in refusals.items())


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
