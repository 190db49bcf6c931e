"""The cgroups of containers: named by mesh and pod, and taken away when nothing runs in them any more."""

import contextlib
import os

_ROOT = "/sys/fs/cgroup"
_OURS = "/tulle"


def cgroup_of(mesh: str, pod: str) -> str:
    """Path of a pod's cgroup in every hierarchy; names hold no dot, so two cannot be one."""
    return f"{_OURS}/{mesh}.{pod.replace('/', '.', 1)}"


def clear_cgroup(path: str) -> None:
    """Removes a cgroup with all below it, in every hierarchy; what still runs keeps its own."""
    for root in _hierarchies():
        with contextlib.suppress(OSError):
            for directory, _, _ in os.walk(root + path, topdown=False):
                os.rmdir(directory)
            os.rmdir(root + _OURS)


def clear_cgroups(mesh: str) -> None:
    """Removes all that were a mesh's, when it has ended without doing so."""
    for root in _hierarchies():
        with contextlib.suppress(OSError):
            for name in os.listdir(root + _OURS):
                if name.partition(".")[0] == mesh:
                    clear_cgroup(f"{_OURS}/{name}")


def _hierarchies() -> list[str]:
    """The one of cgroup2, or each of the old ones."""
    if os.path.exists(f"{_ROOT}/cgroup.controllers"):
        return [_ROOT]
    with contextlib.suppress(OSError):
        return [f"{_ROOT}/{name}" for name in os.listdir(_ROOT)]
    return []
