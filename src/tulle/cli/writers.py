"""Who, besides root, decides what root runs: whoever may write a manifest that root's mesh follows, or Tulle itself."""

import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from os import stat_result
from pathlib import Path

import tulle
from tulle.kit.users import user_name

_ANYBODY = stat.S_IWGRP | stat.S_IWOTH

Facts = Callable[[Path], stat_result]


def other_writers(paths: Iterable[Path], facts: Facts = Path.stat) -> list[str]:
    """For each path that another user may write or replace: where, and who. One line each."""
    return list(dict.fromkeys(why for one in paths if (why := _why(one.resolve(), facts))))


def own_program() -> Iterator[Path]:
    """What this Tulle runs from: the interpreter by every link, what may be imported, each of its own files."""
    at = Path(sys.executable)
    while at.is_symlink():
        yield at.parent
        at = at.parent / at.readlink()
    yield at
    yield from (one for one in map(Path, sys.path) if one.is_absolute() and one.exists())
    for package in tulle.__path__:
        yield from Path(package).rglob("*")


def _why(path: Path, facts: Facts) -> str:
    for one in (path, *path.parents):
        seen = facts(one)
        if seen.st_uid:
            return f"{one} belongs to {user_name(seen.st_uid) or f'uid {seen.st_uid}'}"
        is_shared = stat.S_ISDIR(seen.st_mode) and seen.st_mode & stat.S_ISVTX
        if seen.st_mode & _ANYBODY and not is_shared:
            return f"{one} may be written by others (mode {stat.S_IMODE(seen.st_mode):o})"
    return ""
