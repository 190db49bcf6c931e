"""What a request costs in numbers that do not swing: instructions, allocations and system calls of the compiled proxy."""

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks.allocations import Allocations
from benchmarks.callgrind import Callgrind, Profile
from benchmarks.counted import GROUPS, Group
from benchmarks.per_request import Tool, Window, Windows, count, difference
from benchmarks.strace import Strace

CASES: Final = tuple(group.case(variant) for group in GROUPS for variant in group.variants)


def measure_counts(sources: Path, cases: Collection[str]) -> dict[str, dict[str, float]]:
    """By case, what a request costs a proxy that is started from `sources`."""
    measured = {}
    for profiled, allocated, called in zip(
        profiles(sources, cases),
        _windows(sources, cases, Allocations, lambda group: group.traced),
        _windows(sources, cases, Strace, lambda group: group.traced),
        strict=True,
    ):
        measured[profiled.case] = {
            "instructions": _sum(profiled, lambda profile: profile.instructions),
            "allocations": _sum(allocated, _itself),
            "system calls": _sum(called, _itself),
        }
        print(f"counted {profiled.case}", file=sys.stderr)
    return measured


def profiles(sources: Path, cases: Collection[str]) -> Iterator[Windows[Profile]]:
    """By callgrind, case after case."""
    return _windows(sources, cases, Callgrind, lambda group: group.profiled)


def _windows(
    sources: Path, cases: Collection[str], make_tool: Callable[[Path], Tool[Window]], requests: Callable[[Group], int]
) -> Iterator[Windows[Window]]:
    for group in GROUPS:
        variants = tuple(variant for variant in group.variants if group.case(variant) in cases)
        if variants:
            yield from count(group, sources, variants, make_tool, requests(group))


def _sum(windows: Windows[Window], counts: Callable[[Window], Mapping[str, int]]) -> float:
    return sum(difference(counts(windows.first), counts(windows.second), windows.requests).values())


def _itself(counts: Counter[str]) -> Counter[str]:
    return counts
