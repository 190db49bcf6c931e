"""What the processes of one mesh weigh: RSS of each, PSS of all. Reads /proc alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_ROLES = {"tulle-stem": "stem", "tulle-broker": "broker", "tulle-pod": "pod init"}
"""By the name that a process has taken."""


class Weight(NamedTuple):
    """One process of Tulle; sizes in octets."""

    role: str
    """`supervisor`, `stem`, `broker`, `agent`, `proxy` or `pod init`."""
    pid: int
    rss: int
    pss: int | None
    """None where the kernel does not let this user look."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """All of Tulle's processes; what runs in the pods is the user's and does not count."""

    processes: tuple[Weight, ...]

    def rss(self, role: str) -> int:
        """The heaviest of that role; 0 when there is none."""
        return max((w.rss for w in self.processes if w.role == role), default=0)

    @property
    def pss(self) -> int:
        """Of those that could be read: the least that all of them weigh."""
        return sum(w.pss for w in self.processes if w.pss is not None)

    @property
    def pss_at_most(self) -> int:
        """What could not be read counted whole, shared pages too: the most that all of them weigh.

        Pods' inits and the broker hide their memory, and the kernel shows it to root alone.
        """
        return self.pss + sum(w.rss for w in self.processes if w.pss is None)

    @property
    def unreadable(self) -> int:
        return sum(w.pss is None for w in self.processes)


def footprint(supervisor_pid: int) -> Footprint:
    """Weighs the supervisor and its own children; a child that ends meanwhile is left out."""
    found = []
    for pid in (supervisor_pid, *children(supervisor_pid)):
        try:
            found.append(Weight(_role(pid, supervisor_pid), pid, _rss(pid), _pss(pid)))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return Footprint(tuple(found))


def children(pid: int) -> list[int]:
    """The processes whose parent is this one."""
    return [child for child, parent in _parents().items() if parent == pid]


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    parents = _parents()
    found: list[int] = []
    layer = {pid}
    while layer:
        layer = {child for child, parent in parents.items() if parent in layer}
        found += layer
    return found


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return _after_name(pid).split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def name_of(pid: int) -> str:
    """As the kernel has it; empty when the process has ended."""
    try:
        return (PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def rss(pid: int) -> int:
    """Resident octets of one process."""
    return _rss(pid)


def _parents() -> dict[int, int]:
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = int(_after_name(int(entry.name)).split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def _after_name(pid: int) -> str:
    """/proc/PID/stat after the name, which may hold anything: state, parent, …"""
    return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2]


def _role(pid: int, supervisor_pid: int) -> str:
    if pid == supervisor_pid:
        return "supervisor"
    command = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    for role in ("agent", "proxy"):
        if f"tulle.{role}".encode() in command:
            return role
    return _ROLES.get(" ".join(_status(pid, "Name")), "pod init")


def _rss(pid: int) -> int:
    return int(_status(pid, "VmRSS")[0]) * 1024


def _status(pid: int, field: str) -> list[str]:
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.split()
    raise ProcessLookupError(f"process {pid} has no {field}: it has ended")


def _pss(pid: int) -> int | None:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except PermissionError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)
