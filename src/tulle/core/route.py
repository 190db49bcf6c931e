"""Which route takes a request, by the precedence of Gateway API."""

from tulle.core.backends import RouteTable
from tulle.core.request import RequestView
from tulle.core.route_index import PathIndex, RouteEntry
from tulle.core.tables import ServicePortTable


def match_route(port: ServicePortTable, request: RequestView) -> RouteTable | None:
    """The route of highest precedence that matches; None: answer `no-route`.

    Exact host before the longest wildcard before any host; then exact path, longest prefix by element, a method,
    most headers, and the first by name. Costs look-ups bounded by what routes name, not by how many there are.
    """
    index = port.routes
    if index.only is not None:
        return index.only
    host = request.host
    if index.hosts:
        paths = index.hosts.get(host)
        if paths is not None:
            found = _match_path(paths, request)
            if found is not None:
                return found
    if index.wildcards:
        dot = host.find(".", 1)
        while dot >= 0:
            paths = index.wildcards.get(host[dot:])
            if paths is not None:
                found = _match_path(paths, request)
                if found is not None:
                    return found
            dot = host.find(".", dot + 1)
    return None if index.any_host is None else _match_path(index.any_host, request)


def _match_path(index: PathIndex, request: RequestView) -> RouteTable | None:
    path = request.path
    entries = index.exact.get(path) if index.exact else None
    if entries is not None:
        found = _first(entries, request)
        if found is not None:
            return found
    if not index.prefixes:
        return None
    if index.depth > 0:
        end = _end_of_elements(path, index.depth)
        while end > 0:
            entries = index.prefixes.get(path[:end])
            if entries is not None:
                found = _first(entries, request)
                if found is not None:
                    return found
            end = path.rfind("/", 0, end)
    entries = index.prefixes.get("")
    return None if entries is None else _first(entries, request)


def _end_of_elements(path: str, count: int) -> int:
    """Where the first `count` elements of a path end."""
    end = 0
    for _ in range(count):
        end = path.find("/", end + 1)
        if end < 0:
            return len(path)
    return end


def _first(entries: list[RouteEntry], request: RequestView) -> RouteTable | None:
    for entry in entries:
        if entry.method and entry.method != request.method:
            continue
        if entry.headers and not _has_headers(entry.headers, request):
            continue
        return entry.route
    return None


def _has_headers(wanted: list[tuple[bytes, bytes]], request: RequestView) -> bool:
    for name, value in wanted:  # noqa: SIM110  (a generator per match costs more than the match)
        if request.header(name) != value:
            return False
    return True
