"""Allocations: how many blocks a process asked the allocator for in a window, by `allocations.c` between it and the C library."""

import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.programs import compile_program

KINDS: Final = ("malloc", "calloc", "realloc")
COUNTS: Final = struct.Struct("=3Q")


class Allocations:
    """Counts in a process that was started with its `environment`. What comes from a free list of the interpreter's is not counted."""

    def __init__(self, work: Path) -> None:
        library = compile_program("allocations", work, "-shared", "-fPIC", "-fno-builtin")
        self._page = work / "allocations.page"
        self._page.write_bytes(bytes(COUNTS.size))
        self.under: tuple[str, ...] = ()
        self.environment = {
            "PYTHONMALLOC": "malloc",
            "LD_PRELOAD": str(library),
            "TULLE_ALLOCATIONS": str(self._page),
        }

    def window(self, _pid: int, act: Callable[[], None]) -> Counter[str]:
        """The calls of the allocator while `act` runs."""
        before = self._read()
        act()
        return Counter({kind: after - was for kind, after, was in zip(KINDS, self._read(), before, strict=True)})

    def _read(self) -> tuple[int, ...]:
        return COUNTS.unpack(self._page.read_bytes())
