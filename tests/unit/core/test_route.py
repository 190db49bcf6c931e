from msgspec.structs import replace

from tests.unit.core.worlds import SHOP, request
from tulle.core.balance import pick_backend, pick_endpoint
from tulle.core.route import match_route
from tulle.core.tables import ServicePortTable, build_tables
from tulle.wire.snapshot import HeaderMatch, Match, PathMatch, Route


def routed(*routes: Route) -> ServicePortTable:
    orders = SHOP.services[0]
    port = replace(orders.ports[0], routes=routes)
    return build_tables(replace(SHOP, services=(replace(orders, ports=(port,)),))).by_name["default/orders", 80]


def test_the_only_route_needs_no_look() -> None:
    port = routed(Route(name="all"))

    assert match_route(port, request("GET", "/")) is port.routes.only


def test_a_path_of_many_elements_is_looked_up_as_deep_as_routes_go() -> None:
    port = routed(Route(name="a#0", matches=(Match(path=PathMatch(value="/x/y")),)))

    route = match_route(port, request("GET", "/x/y" + "/z" * 8000))

    assert route is not None
    assert port.routes.any_host is not None
    assert port.routes.any_host.depth == 2


def test_a_route_s_path_is_read_like_a_request_s() -> None:
    port = routed(Route(name="a#0", matches=(Match(path=PathMatch(value="/%7eann", exact=True)),)))

    assert match_route(port, request("GET", "/~ann")) is not None


def test_a_repeated_header_is_compared_whole() -> None:
    port = routed(Route(name="a#0", matches=(Match(headers=(HeaderMatch(name="x", value="1"),)),)))

    assert match_route(port, request("GET", "/", "h", (b"x", b"1"))) is not None
    assert match_route(port, request("GET", "/", "h", (b"x", b"1"), (b"x", b"2"))) is None


def test_rules_are_ordered_by_number_not_by_letters() -> None:
    port = routed(Route(name="a#10"), Route(name="a#9"))

    route = match_route(port, request("GET", "/"))

    assert route is not None
    assert route.name == "a#9"


def test_no_weight_is_no_backend_and_nothing_ready_is_no_endpoint() -> None:
    tables = build_tables(SHOP)
    backend = tables.backends["orders"]
    host = backend.endpoints[1]

    route = match_route(routed(Route(name="empty")), request("GET", "/"))

    assert route is not None
    assert pick_backend(route, 0) is None
    assert pick_endpoint(backend, 0) is host
    assert pick_endpoint(backend, 0, [host]) is None
