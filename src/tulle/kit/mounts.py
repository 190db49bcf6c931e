"""Mounts: the calls of mount(2) and of the newer descriptor-based interface (Linux 5.12) that pods need."""

import ctypes
import os
import struct

from tulle.kit.syscalls import MOUNT_SETATTR, MOVE_MOUNT, OPEN_TREE, OPENAT2, libc, syscall

NOSUID, NODEV, NOEXEC = 2, 4, 8
_BIND, _REC, _PRIVATE = 4096, 16384, 1 << 18
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 4, 0x40
_RESOLVE_NO_SYMLINKS = 4
_ATTR_RDONLY, _ATTR_NOSUID = 1, 2


def mount(kind: str, target: str, flags: int = 0, options: str = "") -> None:
    """Mounts a new file system. Raises OSError with the target."""
    try:
        libc("mount", kind.encode(), os.fsencode(target), kind.encode(), flags, options.encode())
    except OSError as fault:
        raise OSError(fault.errno, f"mount {kind} on {target}: {os.strerror(fault.errno or 0)}") from None


def keep_to_ourselves() -> None:
    """From now on no mount of this namespace reaches another, nor the other way round."""
    libc("mount", b"none", b"/", None, _REC | _PRIVATE, None)


def bind_to_itself(path: str) -> None:
    """Makes a path, and what is mounted below it, a mount of its own."""
    encoded = os.fsencode(path)
    libc("mount", encoded, encoded, None, _BIND | _REC, None)


def copy(path: str, *, through_links: bool = True) -> int:
    """A descriptor of the tree of mounts at `path`, to be attached elsewhere. Raises OSError with the path."""
    flags = _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC
    if through_links:
        return syscall(OPEN_TREE, "open_tree", _AT_FDCWD, os.fsencode(path), flags)
    place = _open_plain(path)
    try:
        return syscall(OPEN_TREE, "open_tree", place, b"", flags | _AT_EMPTY_PATH)
    finally:
        os.close(place)


def attach_to_itself(tree: int, path: str) -> None:
    """Mounts a copied tree where it came from; its descriptor stays open and is that mount."""
    place = _open_plain(path)
    try:
        flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
        syscall(MOVE_MOUNT, "move_mount", tree, b"", place, b"", flags)
    finally:
        os.close(place)


def attach(tree: int, target: str) -> None:
    """Mounts a copied tree at `target` and closes its descriptor."""
    syscall(MOVE_MOUNT, "move_mount", tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)


def seal(path: str) -> None:
    """Makes a mount and all below it read-only, and set-user-id programs there ordinary."""
    _set_attributes(_AT_FDCWD, path, _AT_RECURSIVE, add=_ATTR_RDONLY | _ATTR_NOSUID)


def seal_tree(tree: int) -> None:
    """Makes a copied tree read-only."""
    _set_attributes(tree, "", _AT_EMPTY_PATH | _AT_RECURSIVE, add=_ATTR_RDONLY | _ATTR_NOSUID)


def open_for_writing(path: str) -> None:
    """Makes a mount writable again."""
    _set_attributes(_AT_FDCWD, path, 0, remove=_ATTR_RDONLY)


def open_tree_for_writing(tree: int, *, below: bool = False) -> None:
    """Makes a mount (with `below`: and all below it) writable again, by the descriptor that `copy` gave."""
    _set_attributes(tree, "", _AT_EMPTY_PATH | (_AT_RECURSIVE if below else 0), remove=_ATTR_RDONLY)


def _open_plain(path: str) -> int:
    """A descriptor of a path, none of whose parts is a symbolic link at this moment."""
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS)
    buffer = ctypes.create_string_buffer(how, len(how))
    return syscall(OPENAT2, f"openat2 {path}", _AT_FDCWD, os.fsencode(path), buffer, len(how))


def _set_attributes(place: int, path: str, flags: int, *, add: int = 0, remove: int = 0) -> None:
    attributes = struct.pack("=QQQQ", add, remove, 0, 0)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    syscall(MOUNT_SETATTR, "mount_setattr", place, os.fsencode(path), flags, buffer, len(attributes))
