"""Where podman works for one container: in the mount namespace of its pod, with nothing that it would share with the box's."""

import os
import resource

from tulle.kit import limits, mounts, namespaces
from tulle.supervisor.container_podman import Box, podman_environment

WORKSHOP = "/run/pod"
"""podman's own places, in memory, gone with the pod."""
_CGROUPS = "/sys/fs/cgroup"
_WORKSHOP_MEMORY = "mode=0755,size=10%,nr_inodes=100k"


def workshop_arguments(box: Box) -> list[str]:
    """Podman and the options by which all that it keeps lies in the workshop of this pod."""
    return [
        *(box.podman, "--root", f"{WORKSHOP}/storage", "--runroot", f"{WORKSHOP}/run"),
        *("--tmpdir", f"{WORKSHOP}/libpod"),
        *("--storage-driver", box.driver, "--cgroup-manager", "cgroupfs", "--events-backend", "none"),
        *("--runtime", box.runtime),
    ]


def confining_arguments(box: Box, cgroup: str, descriptors: int) -> list[str]:
    """Options of `podman create` that every container gets: no capability, no new privileges, a network that is the pod's.

    `descriptors`: its limit of them, unless it raises that itself.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = min(descriptors, hard)
    options = [
        *("--pull=never", "--log-driver=passthrough", "--network=ns:/proc/1/ns/net", "--no-hosts", "--cap-drop=all"),
        *("--security-opt=no-new-privileges", f"--security-opt=seccomp={WORKSHOP}/seccomp.json"),
        "--security-opt=mask=/proc/keys:/proc/key-users:/proc/kallsyms:/proc/kmsg:/proc/sysrq-trigger",
        *("--no-healthcheck", "--http-proxy=false", "--systemd=false", "--cgroupns=private"),
        *(f"--oom-score-adj={limits.OOM_SCORE}", "--ulimit=core=0:0"),
        *(f"--ulimit=nproc={limits.PROCESSES}:{limits.PROCESSES}", f"--ulimit=nofile={most}:{hard}"),
    ]
    if box.limits:
        return [*options, f"--cgroup-parent={cgroup}", f"--pids-limit={limits.PROCESSES}"]
    return [*options, "--cgroups=disabled"]


def make_workshop(box: Box) -> None:
    """In a pod's own mount namespace, once its /proc is there: what podman and the runtime need, and nothing they would share."""
    with open(box.profile, "rb") as source:  # it may lie in what is about to be covered
        profile = source.read()
    mounts.mount("tmpfs", "/run", mounts.NOSUID | mounts.NODEV, _WORKSHOP_MEMORY)
    mounts.mount("tmpfs", "/dev/shm", mounts.NOSUID | mounts.NODEV, "mode=0755,size=4m")  # noqa: S108
    os.mkdir(WORKSHOP, 0o700)
    with open(f"{WORKSHOP}/seccomp.json", "wb") as target:
        target.write(profile)


def seal_all_but_workshop() -> None:
    """podman, the runtime and conmon write there, to /proc and to cgroups; all else of the box is read-only to them."""
    mounts.seal("/")
    for path in ("/run", "/proc", "/dev/shm", _CGROUPS):  # noqa: S108
        if os.path.ismount(path):
            mounts.open_for_writing(path)
    for name in os.listdir(_CGROUPS) if os.path.isdir(_CGROUPS) else ():
        if os.path.ismount(path := f"{_CGROUPS}/{name}"):
            mounts.open_for_writing(path)


def workshop_environment() -> dict[str, str]:
    """For podman in a workshop."""
    return {**podman_environment(), "HOME": WORKSHOP, "TMPDIR": WORKSHOP}


def leave_network() -> None:
    """Podman and what it leaves behind need no network; the runtime refuses to join the one it is in."""
    namespaces.unshare(namespaces.NEWNET)
