"""Who, besides root, decides what root runs: whoever may write a manifest that root's mesh follows."""

import stat
from collections.abc import Callable, Iterable
from os import stat_result
from pathlib import Path

from tulle.kit.users import user_name

_ANYBODY = stat.S_IWGRP | stat.S_IWOTH


def other_writers(manifests: Iterable[Path], facts: Callable[[Path], stat_result] = Path.stat) -> list[str]:
    """For each manifest that another user may write or replace: where, and who. One line each."""
    return [why for one in manifests if (why := _why(one.resolve(), facts))]


def _why(manifest: Path, facts: Callable[[Path], stat_result]) -> str:
    for path in (manifest, *manifest.parents):
        seen = facts(path)
        if seen.st_uid:
            return f"{path} belongs to {user_name(seen.st_uid) or f'uid {seen.st_uid}'}"
        is_shared = stat.S_ISDIR(seen.st_mode) and seen.st_mode & stat.S_ISVTX
        if seen.st_mode & _ANYBODY and not is_shared:
            return f"{path} may be written by others (mode {stat.S_IMODE(seen.st_mode):o})"
    return ""
