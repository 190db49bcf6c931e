"""What a proxy has counted, as a document: handed to the one that takes its place, so that no counter goes back.

Series go by the names of their parts: the proxy that reads it may be of another version, with other buckets or classes.
"""

import math
from bisect import bisect_left
from typing import Final

import msgspec

from tulle.proxy.counters import BOUNDS, CLASSES, Counters
from tulle.proxy.grpc import STATUSES
from tulle.wire.status import Refusal

_TABLES: Final = ("denied", "shadow_denied", "answers", "retries", "closes", "refused", "turned_away", "squatted")
_TOTALS: Final = ("tap_dropped", "log_dropped", "log_left_out", "defects")
_GAUGES: Final = ("in_flight", "upstreams", "held")


class SeriesLine(msgspec.Struct, frozen=True):
    """A `counters.Series`."""

    count: int
    seconds: float
    buckets: list[int]
    bytes_in: int
    bytes_out: int


class PairLine(msgspec.Struct, frozen=True):
    """A `counters.Pair`."""

    key: tuple[str, str, str, str, str]
    series: dict[str, SeriesLine]
    """By response class."""
    grpc: dict[str, int] = {}
    """By name of the status."""


class LinkLine(msgspec.Struct, frozen=True):
    """A `counters.Link`."""

    key: tuple[str, str, str]
    total: int
    open: int


class Estate(msgspec.Struct, frozen=True):
    """All that one proxy has counted, and what it holds just now."""

    bounds: list[float] = []
    """Upper bounds of the buckets; +Inf follows."""
    pairs: list[PairLine] = []
    links: list[LinkLine] = []
    tables: dict[str, list[tuple[list[str], int]]] = {}
    snapshots: dict[str, int] = {}
    totals: dict[str, int] = {}
    gauges: dict[str, int] = {}
    refusals: list[Refusal] = []


def estate_of(counters: Counters, refusals: list[Refusal]) -> Estate:
    """A copy."""
    return Estate(
        bounds=BOUNDS,
        pairs=[
            PairLine(
                pair.key,
                {
                    name: SeriesLine(one.count, one.seconds, one.buckets, one.bytes_in, one.bytes_out)
                    for name, one in zip(CLASSES, pair.series, strict=True)
                    if one is not None
                },
                {name: count for name, count in zip(STATUSES, pair.grpc or (), strict=False) if count},
            )
            for pair in counters.pairs.values()
        ],
        links=[LinkLine(key, link.total, link.open) for key, link in counters.links.items()],
        tables={name: [(list(key), count) for key, count in getattr(counters, name).items()] for name in _TABLES},
        snapshots=dict(counters.snapshots),
        totals={name: getattr(counters, name) for name in _TOTALS},
        gauges={name: getattr(counters, name) for name in _GAUGES},
        refusals=refusals,
    )


def add(counters: Counters, estate: Estate, *, is_over: bool) -> None:
    """Counts all of it here too. `is_over`: its owner has ended and holds nothing any more."""
    for line in estate.pairs:
        pair = counters.pair(*line.key)
        if not pair.is_counted:
            continue
        for name, series in line.series.items():
            if name not in CLASSES:
                continue
            found = pair.of(CLASSES.index(name))
            found.count += series.count
            found.seconds += series.seconds
            found.bytes_in += series.bytes_in
            found.bytes_out += series.bytes_out
            for bound, count in zip((*estate.bounds, math.inf), series.buckets, strict=False):
                found.buckets[bisect_left(BOUNDS, bound)] += count
        for name, count in line.grpc.items():
            if name in STATUSES:
                pair.end_calls(STATUSES.index(name), count)
    for one in estate.links:
        link = counters.link(*one.key)
        link.total += one.total
        link.open += 0 if is_over else one.open
    for name in _TABLES:
        table = getattr(counters, name)
        for key, count in estate.tables.get(name, []):
            table[tuple(key)] = table.get(tuple(key), 0) + count
    for result, count in estate.snapshots.items():
        counters.snapshots[result] = counters.snapshots.get(result, 0) + count
    for names, values in ((_TOTALS, estate.totals), (() if is_over else _GAUGES, estate.gauges)):
        for name in names:
            setattr(counters, name, getattr(counters, name) + values.get(name, 0))


def sum_of(counters: Counters, estate: Estate) -> Counters:
    """What both have counted, and hold."""
    both = counters.empty()
    add(both, estate_of(counters, []), is_over=False)
    add(both, estate, is_over=False)
    return both
