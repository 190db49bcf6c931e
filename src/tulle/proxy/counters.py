"""Counting in plain slots: an exchange adds to objects it already holds; sums are made when somebody scrapes."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, final

from tulle.proxy.grpc import STATUSES

BOUNDS: Final[list[float]] = [
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
]
"""Upper bounds of the duration buckets, in seconds; +Inf follows."""

CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", "aborted", "truncated", "closed", "reset")
ABORTED: Final = 5
TRUNCATED: Final = 6
CLOSED: Final = 7
RESET: Final = 8
"""Opaque connections and tunnels end in one of these two."""


@final
class Series:
    """One pair, route and response class."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.buckets: list[int] = [0] * (len(BOUNDS) + 1)
        """Not cumulative."""
        self.bytes_in = 0
        self.bytes_out = 0

    def add(self, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """One request that ended."""
        self.count += 1
        self.seconds += seconds
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out


@final
class Pair:
    """One (source, destination, version, route, protocol)."""

    def __init__(self, key: tuple[str, str, str, str, str]) -> None:
        self.key = key
        self.is_counted = True
        """False while no snapshot in force knows it: add by `Counters.pair` again."""
        self.series: list[Series | None] = [None] * len(CLASSES)
        self.grpc: list[int] | None = None
        """Calls that ended, by gRPC status; None where none did."""

    def of(self, response_class: int) -> Series:
        """The series of an index into CLASSES, made when first needed."""
        found = self.series[response_class]
        if found is None:
            found = self.series[response_class] = Series()
        return found

    def end_call(self, status: int) -> None:
        """One gRPC call that ended with this status."""
        self.end_calls(status, 1)

    def end_calls(self, status: int, count: int) -> None:
        """So many that did."""
        found = self.grpc
        if found is None:
            found = self.grpc = [0] * len(STATUSES)
        found[status] += count


@final
class Link:
    """Connections of one (source, destination, protocol)."""

    def __init__(self) -> None:
        self.total = 0
        self.open = 0


@final
class Counters:
    """All that is counted by pair. Labels come from the snapshot, never from traffic, so their number is bounded."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, str, str, str, str], Pair] = {}
        self.links: dict[tuple[str, str, str], Link] = {}
        self.denied: dict[tuple[str, str, str, str], int] = {}
        """(source, destination, policy, reason)."""
        self.shadow_denied: dict[tuple[str, str, str, str], int] = {}
        self.answers: dict[tuple[str, str, str], int] = {}
        """(source, destination, reason)."""
        self.retries: dict[tuple[str, str, str, str], int] = {}
        """(source, destination, version, cause)."""
        self.closes: dict[tuple[str, str, str, str, str], int] = {}
        """(source, destination, version, code, by) of WebSockets that ended."""
        self.refused: dict[tuple[str, str], int] = {}
        """(source, cause)."""
        self.turned_away: dict[tuple[str, str], int] = {}
        """(source, destination)."""
        self.squatted: dict[tuple[str], int] = {}
        """(workload,)."""
        self.snapshots: dict[str, int] = {"accepted": 0, "refused": 0}
        self.in_flight = 0
        self.upstreams = 0
        self.tap_dropped = 0
        self.log_dropped = 0
        """Lines of the access log that its pipe had no room for."""
        self.log_left_out = 0
        """Lines of it that were alike, and too many."""
        self.defects = 0
        self.held = 0
        """Octets that wait for slow readers; the dispatcher knows."""
        self._sources: set[str] | None = None
        self._destinations: set[str] = set()

    def empty(self) -> Counters:
        """Others, of the same known pairs, with nothing counted."""
        others = Counters()
        others._sources = self._sources
        others._destinations = self._destinations
        return others

    def pair(self, source: str, destination: str, version: str, route: str, protocol: str) -> Pair:
        """Found, or made."""
        key = (source, destination, version, route, protocol)
        found = self.pairs.get(key)
        if found is None:
            found = Pair(key)
            found.is_counted = self._is_known(source, destination)
            if found.is_counted:
                self.pairs[key] = found
        return found

    def finish(
        self, pair: Pair, response_class: int, seconds: float, bytes_in: int, bytes_out: int, grpc_status: int = -1
    ) -> None:
        """Counts one request or opaque connection that ended; not one whose pair the snapshot no longer knows."""
        if not pair.is_counted:
            key = pair.key
            pair = self.pair(key[0], key[1], key[2], key[3], key[4])
            if not pair.is_counted:
                return
        series = pair.series[response_class]
        if series is None:
            series = pair.of(response_class)
        series.add(seconds, bytes_in, bytes_out)
        if grpc_status >= 0:
            pair.end_call(grpc_status)

    def unlink(self, source: str, destination: str, protocol: str) -> None:
        """A connection has ended."""
        key = (source, destination, protocol)
        found = self.links.get(key)
        if found is not None:
            found.open -= 1
            if found.open == 0 and not self._is_known(source, destination):
                del self.links[key]

    def _is_known(self, source: str, destination: str) -> bool:
        return self._sources is None or (source in self._sources and destination in self._destinations)

    def link(self, source: str, destination: str, protocol: str) -> Link:
        """Found, or made."""
        key = (source, destination, protocol)
        found = self.links.get(key)
        if found is None:
            found = self.links[key] = Link()
        return found

    def deny(self, source: str, destination: str, policy: str, reason: str, is_shadow: bool) -> None:
        """Counts a denial."""
        table = self.shadow_denied if is_shadow else self.denied
        key = (source, destination, policy, reason)
        table[key] = table.get(key, 0) + 1

    def answer(self, source: str, destination: str, reason: str) -> None:
        """Counts an answer of our own."""
        if not self._is_known(source, destination):
            return
        key = (source, destination, reason)
        self.answers[key] = self.answers.get(key, 0) + 1

    def retry(self, source: str, destination: str, version: str, cause: str) -> None:
        """Counts a second attempt."""
        if not self._is_known(source, destination):
            return
        key = (source, destination, version, cause)
        self.retries[key] = self.retries.get(key, 0) + 1

    def close_websocket(self, source: str, destination: str, version: str, code: str, by: str) -> None:
        """Counts a WebSocket that ended, by the code of its first close frame."""
        if not self._is_known(source, destination):
            return
        key = (source, destination, version, code, by)
        self.closes[key] = self.closes.get(key, 0) + 1

    def refuse(self, source: str, cause: str) -> None:
        """Counts a connection closed at accept."""
        key = (source, cause)
        self.refused[key] = self.refused.get(key, 0) + 1

    def turn_away(self, source: str, destination: str) -> None:
        """Counts a stream beyond its connection's limit."""
        if self._is_known(source, destination):
            key = (source, destination)
            self.turned_away[key] = self.turned_away.get(key, 0) + 1

    def squat(self, workload: str) -> None:
        """Counts that somebody else was found where an attached workload should be."""
        key = (workload,)
        self.squatted[key] = self.squatted.get(key, 0) + 1

    def keep_only(self, sources: set[str], destinations: set[str]) -> None:
        """Forgets what belongs to no pair of these, but for connections that are still open."""
        self._sources = sources
        self._destinations = destinations
        for pair in list(self.pairs.values()):
            if pair.key[0] not in sources or pair.key[1] not in destinations:
                pair.is_counted = False
                del self.pairs[pair.key]
        for link_key, link in list(self.links.items()):
            if link.open == 0 and (link_key[0] not in sources or link_key[1] not in destinations):
                del self.links[link_key]
        _prune(self.denied, sources, destinations)
        _prune(self.shadow_denied, sources, destinations)
        _prune(self.retries, sources, destinations)
        for key in list(self.answers):
            if key[0] not in sources or key[1] not in destinations:
                del self.answers[key]
        for close_key in list(self.closes):
            if close_key[0] not in sources or close_key[1] not in destinations:
                del self.closes[close_key]
        for turned in list(self.turned_away):
            if turned[0] not in sources or turned[1] not in destinations:
                del self.turned_away[turned]
        for refused in list(self.refused):
            if refused[0] not in sources:
                del self.refused[refused]


def _prune(table: dict[tuple[str, str, str, str], int], sources: set[str], destinations: set[str]) -> None:
    for key in list(table):
        if key[0] not in sources or key[1] not in destinations:
            del table[key]
