"""Calls the C library by name, and the kernel by number where the library has no name for it yet.

Numbers above 423 are the same on every architecture.
"""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

OPEN_TREE = 428
MOVE_MOUNT = 429
OPENAT2 = 437
MOUNT_SETATTR = 442

Argument = int | bytes | ctypes.Array[ctypes.c_char] | None


def libc(name: str, *arguments: Argument) -> int:
    """Calls a function of the C library that returns -1 and sets errno. Raises OSError, its text names the call."""
    function = getattr(_libc, name)
    function.restype = ctypes.c_int
    result: int = function(*[_widen(one) for one in arguments])
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(number: int, name: str, *arguments: Argument) -> int:
    """Calls the kernel. Raises OSError, its text names the call."""
    _libc.syscall.restype = ctypes.c_long
    result: int = _libc.syscall(ctypes.c_long(number), *[_widen(one) for one in arguments])
    if result == -1:
        failure = ctypes.get_errno()
        raise OSError(failure, f"{name}: {os.strerror(failure)}")
    return result


def write_setting(path: str, text: str) -> None:
    """Writes a file of /proc in one call. Raises OSError with the path."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _widen(argument: Argument) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument
