"""Routes laid out by precedence: by host, by path, then by what a match still asks for."""

from collections.abc import Iterable
from typing import final

from tulle.core.backends import RouteTable
from tulle.core.request import canonical_pattern
from tulle.wire.snapshot import Match, Route


@final
class RouteEntry:
    """One match of a route, beyond host and path."""

    __slots__ = ("headers", "method", "rank", "route")

    def __init__(self, match: Match, rank: tuple[str, int], route: RouteTable) -> None:
        self.method: str = match.method or ""
        """Empty: any."""
        self.headers: list[tuple[bytes, bytes]] = [(h.name.encode(), h.value.encode()) for h in match.headers]
        self.rank: tuple[str, int] = rank
        """Route and rule: of equals the first wins."""
        self.route: RouteTable = route


@final
class PathIndex:
    """The matches of one host name. Each list is in order of precedence."""

    __slots__ = ("depth", "exact", "prefixes")

    def __init__(self) -> None:
        self.exact: dict[str, list[RouteEntry]] = {}
        self.prefixes: dict[str, list[RouteEntry]] = {}
        """Without final slash; empty: every path."""
        self.depth: int = 0
        """Most path elements in any prefix: bounds the look-ups for a path of many."""

    def add(self, path: str, exact: bool, entry: RouteEntry) -> None:
        """Takes a match in; call `seal` after the last."""
        if exact:
            self.exact.setdefault(path, []).append(entry)
        else:
            prefix = path.rstrip("/")
            self.depth = max(self.depth, prefix.count("/"))
            self.prefixes.setdefault(prefix, []).append(entry)

    def seal(self) -> None:
        """Orders what was added."""
        for entries in (*self.exact.values(), *self.prefixes.values()):
            entries.sort(key=_precedence)


@final
class RouteIndex:
    """All routes of a service port."""

    __slots__ = ("any_host", "hosts", "only", "wildcards")

    def __init__(self, routes: Iterable[tuple[Route, RouteTable]]) -> None:
        self.only: RouteTable | None = None
        """The one route there is, when it takes every request; then nothing is laid out beside it."""
        self.hosts: dict[str, PathIndex] = {}
        self.wildcards: dict[str, PathIndex] = {}
        """By what follows the star, its dot included."""
        self.any_host: PathIndex | None = None
        pairs = list(routes)
        if len(pairs) == 1 and not pairs[0][0].matches and not pairs[0][0].hostnames:
            self.only = pairs[0][1]
            return
        for route, table in pairs:
            for match in route.matches or (Match(),):
                entry = RouteEntry(match, _rank(route.name), table)
                path = canonical_pattern(match.path.value) if match.path else "/"
                exact = match.path is not None and match.path.exact
                for host in route.hostnames or ("*",):
                    self._paths_of(host.lower()).add(path, exact, entry)
        for index in self._all():
            index.seal()

    def _paths_of(self, host: str) -> PathIndex:
        if host == "*":
            if self.any_host is None:
                self.any_host = PathIndex()
            return self.any_host
        if host.startswith("*"):
            return self.wildcards.setdefault(host[1:], PathIndex())
        return self.hosts.setdefault(host, PathIndex())

    def _all(self) -> list[PathIndex]:
        found = [*self.hosts.values(), *self.wildcards.values()]
        return found if self.any_host is None else [*found, self.any_host]


def _precedence(entry: RouteEntry) -> tuple[bool, int, tuple[str, int]]:
    return (not entry.method, -len(entry.headers), entry.rank)


def _rank(name: str) -> tuple[str, int]:
    """Sorts `shop/orders#10` after `shop/orders#2`."""
    route, _, index = name.rpartition("#")
    return (route, int(index)) if route and index.isdecimal() else (name, 0)
