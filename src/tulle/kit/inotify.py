"""Says when a directory's entries change; sleeps otherwise.

Directories are watched, not files: editors and configuration tools replace a file by renaming another over it.
"""

import os
import struct
from pathlib import Path

from tulle.kit.syscalls import libc

_MODIFY, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE = 0x2, 0x8, 0x40, 0x80, 0x100
_DELETE, _DELETE_SELF, _MOVE_SELF = 0x200, 0x400, 0x800
_ONLYDIR, _IGNORED, _OVERFLOW = 0x0100_0000, 0x8000, 0x4000
_MASK = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR
_HEAD = struct.Struct("iIII")


class Inotify:
    """Watched directories behind one descriptor, readable when something changed."""

    def __init__(self, *, modified: bool = False) -> None:
        """`modified`: each write counts, not only the last one."""
        self._mask = _MASK | (_MODIFY if modified else 0)
        self._fd = libc("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        self._paths: dict[int, Path] = {}

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def watch(self, directory: Path) -> None:
        """Watches a directory, once however often asked. Raises OSError where it is none."""
        self._paths[libc("inotify_add_watch", self._fd, os.fsencode(directory), self._mask)] = directory

    def read(self) -> set[Path]:
        """Entries changed since the last call; the directory itself when it went away or events were lost."""
        changed: set[Path] = set()
        while True:
            try:
                buffer = os.read(self._fd, 65536)
            except BlockingIOError:
                return changed
            offset = 0
            while offset < len(buffer):
                watch, mask, _, length = _HEAD.unpack_from(buffer, offset)
                name = buffer[offset + _HEAD.size : offset + _HEAD.size + length].rstrip(b"\0")
                offset += _HEAD.size + length
                if mask & _OVERFLOW:
                    changed.update(self._paths.values())
                elif directory := self._paths.get(watch):
                    changed.add(directory / os.fsdecode(name) if name else directory)
                if mask & _IGNORED:
                    self._paths.pop(watch, None)

    def close(self) -> None:
        """Ends all watches."""
        os.close(self._fd)
