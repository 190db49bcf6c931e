"""What of the box a container is given: which sources are refused and why, and how the others are laid out for podman.

Each source is taken once, without following a link that appears meanwhile, and attached in the workshop; podman and the
runtime see that place only. So nothing in a source's name, and nobody who may write on the way to it, decides what is mounted.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tulle.kit import mounts
from tulle.supervisor.steps import StepFailed
from tulle.supervisor.tree import is_below, trail

_BOX = ("/proc", "/sys", "/dev")
"""The kernel's own: nothing of them can be given."""
_ENGINES = (
    *("/run/podman", "/run/docker", "/run/docker.sock", "/run/containerd", "/run/crio", "/run/containers"),
    *("/run/libpod", "/run/crun", "/run/runc", "/run/systemd", "/run/dbus"),
    *("/var/lib/containers", "/var/lib/docker", "/var/lib/containerd"),
)
"""Who speaks with them, or writes there, is root of the box."""
_ENGINE_SOCKETS = (
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
)
_SOCKETS = frozenset(("podman.sock", "docker.sock", "containerd.sock", "crio.sock", "system_bus_socket"))
_OPTIONS = "nosuid,nodev,rbind,rprivate"


class Mount(NamedTuple):
    """One path of the box in a container."""

    source: str
    """Absolute."""
    target: str
    writable: bool
    fresh: bool = False
    """A volume made just now: it becomes the container's user's own."""


class Ground(NamedTuple):
    """What of the box is not for containers."""

    hidden: list[str]
    """Tulle's own directories, and where podman keeps the box's images."""
    protected: list[str]
    """Manifests: read-only even inside of what may be written."""
    code: list[str]
    """What Tulle runs from, likewise."""
    shared: list[str]
    """What any pod of the mesh may write: no link in there leads anywhere."""

    @property
    def sealed(self) -> list[str]:
        """What nobody may write."""
        return [*self.protected, *self.code]


def settle(mount: Mount, ground: Ground) -> Mount:
    """The mount with its source's real path. Raises StepFailed with the reason where it is refused."""
    said = mount.source
    if own := _kernels(os.path.normpath(said)):
        raise StepFailed("mounts", f"{said} is the kernel's own: a container has its own {own}")
    links, real = trail(said)
    if why := _why_refused(real, ground, writable=mount.writable):
        raise StepFailed("mounts", f"{said} {why}")
    if not os.path.exists(real):
        raise StepFailed("mounts", f"{said} does not exist")
    shared = [trail(one)[1] for one in ground.shared]
    for link in links:
        if any(is_below(link, one) for one in shared):
            raise StepFailed("mounts", f"{said} leads through {link}, a link that a service may have made")
    return mount._replace(source=real)


def writable_sources(wanted: Iterable[Sequence[str]], ground: Ground) -> list[str]:
    """Paths that containers may write: of source, target and mode, what is neither read-only nor refused."""
    found: list[str] = []
    for source, target, mode in wanted:
        if mode != "ro" and "/" in source:
            with contextlib.suppress(StepFailed, OSError):
                found.append(settle(Mount(source, target, writable=True), ground).source)
    return found


def take(wanted: Sequence[Mount]) -> list[int]:
    """A descriptor of each source's tree; none of them is followed through a link that appears now. Raises OSError."""
    return [mounts.copy(one.source, through_links=False) for one in wanted]


def lay_out(wanted: Sequence[Mount], trees: Sequence[int], sealed: Sequence[str], place: str) -> list[str]:
    """Attaches what was taken below `place`, `sealed` paths in it read-only; returns podman's options. Raises OSError."""
    options: list[str] = []
    os.mkdir(place, 0o700)
    for number, (mount, tree) in enumerate(zip(wanted, trees, strict=True)):
        here = f"{place}/{number}"
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.mkdir(here, 0o700)
        else:
            os.close(os.open(here, os.O_CREAT | os.O_WRONLY, 0o600))
        if not mount.writable:
            mounts.seal_tree(tree)
        mounts.attach(tree, here)
        if mount.writable:
            _seal_inside(mount.source, here, sealed)
        mode = ("rw,U" if mount.fresh else "rw") if mount.writable else "ro"
        options += ["--volume", f"{here}:{mount.target}:{mode},{_OPTIONS}"]
    return options


def _why_refused(real: str, ground: Ground, *, writable: bool) -> str:
    if real == "/":
        return "is the whole box: name what the service needs of it"
    if own := _kernels(real):
        return f"is the kernel's own: a container has its own {own}"
    for hidden in ground.hidden:
        if _touches(real, hidden):
            return f"holds, or lies in, {hidden}, which is Tulle's or podman's own"
    for engine in _ENGINES:
        if _touches(real, trail(engine)[1]):
            return f"holds, or lies in, {engine}: who has it is root of the box"
    if _is_socket(real) and (os.path.basename(real) in _SOCKETS or _is_engine(real)):
        return "is a socket by which whoever has it is root of the box"
    for code in ground.code if writable else ():
        if real == (its_place := trail(code)[1]) or is_below(real, its_place):
            return f"lies in {code}, from which Tulle itself runs: mount it `:ro`"
    for path in ground.sealed if writable else ():
        for link in trail(path)[0]:
            if is_below(link, real):
                return f"holds {link}, a link on the way to {path}, which no service may replace"
    return ""


def _kernels(path: str) -> str:
    return next((one for one in _BOX if path == one or is_below(path, one)), "")


def _touches(path: str, other: str) -> bool:
    return path == other or is_below(path, other) or is_below(other, path)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _is_engine(path: str) -> bool:
    """By another name."""
    for one in _ENGINE_SOCKETS:
        try:
            if os.path.samefile(path, one):
                return True
        except OSError:
            continue
    return False


def _seal_inside(source: str, here: str, sealed: Sequence[str]) -> None:
    """Makes paths inside an attached source read-only. A mount point cannot be renamed, so every directory on the way is one."""
    for path in sealed:
        if not (path == source or is_below(path, source)):
            continue
        steps = [] if path == source else os.path.relpath(path, source).split("/")
        if not os.path.exists(os.path.join(here, *steps)):
            continue
        at = here
        for part in steps[:-1]:
            at = os.path.join(at, part)
            mounts.bind_to_itself(at)
        at = os.path.join(at, *steps[-1:])
        mounts.bind_to_itself(at)
        mounts.seal(at)
