"""Which program listens at a port of this host, as far as /proc lets this user see."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tulle.kit.users import OVERFLOW_UID, user_name

MESH = "mesh "
"""How a holder begins that is another mesh."""
_LISTENS = "0A"
_VIRTUAL = "507F:"
"""127.80.x.y, as the kernel writes it on a little-endian box."""


def holder_of(port: int, *, virtual: bool = True) -> str:
    """`nginx (pid 812)`; `a program of user alice` where that is all that can be seen; empty where nothing is.

    Without `virtual` addresses of meshes do not count: who is where an attached service should be.
    """
    return holders_of((port,), virtual=virtual).get(port, "")


def holders_of(ports: Iterable[int], *, virtual: bool = True) -> dict[int, str]:
    """The same for each port that somebody has. The box's processes are gone through once, which takes tens of milliseconds."""
    wanted = frozenset(ports)
    sockets = _listening(wanted, virtual) if wanted else []
    by_name = {f"socket:[{one.inode}]": one.port for one in sockets}
    there = set(by_name.values())
    found: dict[int, str] = {}
    for pid in _processes() if there else ():
        if held := _held(pid, by_name) - found.keys():
            found |= dict.fromkeys(held, f"{_name_of(pid)} (pid {pid})")
            if len(found) == len(there):
                break
    for port in there - found.keys():
        owners = sorted({one.uid for one in sockets if one.port == port} - {OVERFLOW_UID})
        if owners:
            found[port] = f"a program of user {user_name(owners[0]) or owners[0]}"
    return found


class _Socket(NamedTuple):
    port: int
    uid: int
    inode: str


def _listening(ports: frozenset[int], virtual: bool) -> list[_Socket]:
    """Every socket that listens at one of the ports, on any address or any that is not virtual."""
    found: list[_Socket] = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table, encoding="ascii") as lines:
            next(lines, None)
            for line in lines:  # one at a time: a busy box has tens of thousands
                _, ours, _, state, _, _, _, uid, _, inode, *_ = line.split()
                if state != _LISTENS or (port := int(ours.rpartition(":")[2], 16)) not in ports:
                    continue
                if virtual or not ours.startswith(_VIRTUAL, 4):
                    found.append(_Socket(port, int(uid), inode))
    return found


def _processes() -> list[int]:
    try:
        return sorted(int(one) for one in os.listdir("/proc") if one.isdigit())
    except OSError:  # no descriptor is left
        return []


def _held(pid: int, by_name: Mapping[str, int]) -> set[int]:
    """Which of the ports a process has; none where it has ended, or is another user's."""
    try:
        links = (_target(f"/proc/{pid}/fd/{one}") for one in os.listdir(f"/proc/{pid}/fd"))
        return {by_name[name] for name in links if name in by_name}
    except OSError:
        return set()


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed meanwhile
        return ""


def _name_of(pid: int) -> str:
    """Of Tulle's own supervisor the mesh, of others the program."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            words = file.read().split("\0")
        if "tulle.supervisor" in words and "--mesh" in words[:-1]:
            return f"{MESH}{_printable(words[words.index('--mesh') + 1])}"
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return _printable(file.read().strip())
    except OSError:
        return "a program"


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)
