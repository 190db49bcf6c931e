"""Keeps what this process needed for a moment from staying its own."""

import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE = 128 * 1024

_libc = ctypes.CDLL(None)


def keep_large_apart() -> None:
    """Has large blocks go back to the box when they are freed. Left to itself, glibc takes what is freed for what is usual, and keeps it."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Has the C library return what lies free; where it knows no way, nothing happens."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
