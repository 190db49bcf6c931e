"""Which program listens at a port of this host, as far as /proc lets this user see."""

import os

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
    sockets = _listening(port, virtual)
    names = {f"socket:[{inode}]" for _, inode in sockets}
    for pid in _processes() if names else ():
        if _holds(pid, names):
            return f"{_name_of(pid)} (pid {pid})"
    owners = sorted({uid for uid, _ in sockets} - {OVERFLOW_UID})
    return f"a program of user {user_name(owners[0]) or owners[0]}" if owners else ""


def _listening(port: int, virtual: bool) -> list[tuple[int, str]]:
    """Owner and inode of every socket that listens at the port, on any address or any that is not virtual."""
    found: list[tuple[int, str]] = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                lines = [line.split() for line in file]
        except OSError:
            continue
        found += [
            (int(words[7]), words[9])
            for words in lines[1:]
            if words[3] == _LISTENS and int(words[1].rpartition(":")[2], 16) == port
            if virtual or not words[1].startswith(_VIRTUAL, 4)
        ]
    return found


def _processes() -> list[int]:
    try:
        return sorted(int(one) for one in os.listdir("/proc") if one.isdigit())
    except OSError:  # no descriptor is left
        return []


def _holds(pid: int, sockets: set[str]) -> bool:
    try:
        return any(_target(f"/proc/{pid}/fd/{one}") in sockets for one in os.listdir(f"/proc/{pid}/fd"))
    except OSError:  # ended, or another user's
        return False


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
