"""Which meshes run here, by their supervisors: all that `tulle status` needs to find one, without pathlib."""

import os

from tulle.kit import places


def supervisors() -> dict[str, int]:
    """Name of each mesh that runs, in order → the process id of its supervisor."""
    try:
        names = sorted(os.listdir(places.runtime_parent()))  # noqa: PTH208
    except OSError:
        return {}
    return {name: pid for name in names if (pid := supervisor_pid(name))}


def supervisor_pid(mesh: str) -> int:
    """Process id of the mesh's supervisor; 0 when none runs."""
    try:
        pid = int(_content(places.supervisor_pid_file(mesh, create=False)))
        words = _content(f"/proc/{pid}/cmdline").split(b"\0")
    except (OSError, ValueError):
        return 0
    return pid if b"tulle.supervisor" in words and os.fsencode(mesh) in words else 0


def unit_running(pid: int) -> str:
    """The mesh's unit that a supervisor runs under; empty when it was started otherwise."""
    try:
        groups = _content(f"/proc/{pid}/cgroup").decode()
    except OSError:
        return ""
    parts = (part for line in groups.splitlines() for part in line.rpartition(":")[2].split("/"))
    return next((part for part in parts if mesh_of(part)), "")


PREFIX, SUFFIX = "tulle-", ".service"


def mesh_of(unit: str) -> str:
    """`shop` of `tulle-shop.service`; empty for what is no unit of Tulle's."""
    return unit[len(PREFIX) : -len(SUFFIX)] if unit.startswith(PREFIX) and unit.endswith(SUFFIX) else ""


def _content(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()
