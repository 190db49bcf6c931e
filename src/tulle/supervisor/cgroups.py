"""Control groups of the second version: where their tree is, which group is a unit's, and who could enter it.

A group's id, as sock_diag gives it with a socket, is its directory's inode; ids are not used again.
"""

import os
import stat
from collections.abc import Iterator

from tulle.kit.users import OVERFLOW_UID

MAX_GROUPS = 256
"""Looked at below one group."""


class NoGroup(Exception):
    """There is no such group, or it cannot be trusted to hold only what its manager put there; the text says why."""


def tree() -> str:
    """Where the cgroup2 tree is mounted, on hybrid layouts too; empty where it is not."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split(" ") for line in file]
    except OSError:
        return ""
    return next((words[1].replace("\\040", " ") for words in mounts if words[2] == "cgroup2"), "")


def find_unit(root: str, unit: str, uid: int) -> str:
    """Path of a systemd unit's group, from the root of the tree. Raises NoGroup.

    The system's own slices are looked through; for an ordinary user also those of their own manager.
    """
    starts = ["/system.slice", "/machine.slice", ""]
    if uid:
        starts = [f"/user.slice/user-{uid}.slice/user@{uid}.service", *starts]
    for start in starts:
        for path in _slices(root, start):
            if os.path.isdir(f"{root}{path}/{unit}"):
                return f"{path}/{unit}"
    raise NoGroup(f"{unit} has no control group: it does not run")


def _slices(root: str, start: str) -> Iterator[str]:
    """The group and the slices below it. Users' slices are not entered: what is in them, they may move."""
    pending, seen = [start], 0
    while pending and seen < MAX_GROUPS:
        path = pending.pop()
        seen += 1
        yield path
        pending += [
            f"{path}/{name}" for name in _below(root + path) if name.endswith(".slice") and name != "user.slice"
        ]


def groups_of(root: str, path: str, uid: int) -> dict[int, str]:
    """Ids of a group and of those below, with their paths. Raises NoGroup, also where others could move into it."""
    if doubt := _who_may_enter(root, path, uid):
        raise NoGroup(doubt)
    found: dict[int, str] = {}
    pending = [path]
    while pending and len(found) < MAX_GROUPS:
        one = pending.pop()
        try:
            found[os.stat(root + one).st_ino] = one
        except OSError as fault:
            if one == path:
                raise NoGroup(f"there is no control group {path}") from fault
            continue
        pending += [f"{one}/{name}" for name in _below(root + one)]
    return found


def _who_may_enter(root: str, path: str, uid: int) -> str:
    """Whoever may write a group above may move their processes into this one. Empty when that is root alone, or who asks."""
    above = ""
    for part in path.split("/")[1:]:
        try:
            writers = _writers(root + above)
        except OSError:
            return f"there is no control group {path}"
        for owner in writers:
            if owner not in (0, uid) and not (owner == OVERFLOW_UID and _is_the_systems(above, uid)):
                whose = f"uid {owner}" if owner is not None else "its group, or everybody"
                return f"who may write the control group {above or '/'} ({whose}) may move other processes into {path}"
        above = f"{above}/{part}"
    return ""


def _writers(group: str) -> list[int | None]:
    """Owners of a group and of its list of processes; None for others who may write either. Raises OSError."""
    found: list[int | None] = []
    for path in (group, f"{group}/cgroup.procs"):
        try:
            facts = os.stat(path)
        except FileNotFoundError:
            if path == group:
                raise
            continue
        found.append(facts.st_uid)
        if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            found.append(None)
    return found


def _is_the_systems(path: str, uid: int) -> bool:
    """From within a user namespace root's groups look like anybody's; these are the system manager's by their names."""
    own = "/user.slice", f"/user.slice/user-{uid}.slice"
    return path in ("", "/system.slice", "/machine.slice", *own) or (
        path.startswith("/system.slice/system-") and path.endswith(".slice") and path.count("/") == 2
    )


def _below(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
