"""Laws of routing and balancing."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.property.strategies import requests, routed, routes, split
from tests.support import reference
from tulle.core.backends import BackendTable, EndpointRef
from tulle.core.balance import pick_backend, pick_endpoint
from tulle.core.request import RequestView
from tulle.core.route import match_route
from tulle.core.tables import build_tables
from tulle.wire.snapshot import Route


def matched(found: tuple[Route, ...], request: RequestView) -> str | None:
    route = match_route(build_tables(routed(found)).by_name["s/s", 80], request)
    return None if route is None else route.name


@given(routes, requests())
def test_match_route_equals_sorting_all_matches(found: tuple[Route, ...], request: RequestView) -> None:
    assert matched(found, request) == reference.route(routed(found).services[0].ports[0], request)


@given(routes, requests())
def test_the_order_of_routes_means_nothing(found: tuple[Route, ...], request: RequestView) -> None:
    assert matched(found, request) == matched(tuple(reversed(found)), request)


@given(st.lists(st.integers(0, 9), max_size=5), st.integers(1, 3))
def test_over_all_rolls_each_backend_gets_its_weight(weights: list[int], turns: int) -> None:
    route = build_tables(split(weights)).by_name["s/s", 80].opaque

    picked = Counter(pick_backend(route, roll) for roll in range(turns * sum(weights)))

    assert {backend.name: count for backend, count in picked.items() if backend} == {
        str(number): turns * weight for number, weight in enumerate(weights) if weight
    }


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), max_size=6), st.integers(0, 2**32 - 1))
def test_an_endpoint_is_ready_untried_and_never_the_busiest(states: list[tuple[bool, bool, int]], roll: int) -> None:
    backend, tried = endpoints_in(states)
    eligible = [one for one in backend.endpoints if one.ready and one not in tried]

    picked = pick_endpoint(backend, roll, tried)

    assert (picked is None) == (not eligible)
    if picked is not None:
        assert picked in eligible
        assert len(eligible) == 1 or any(o is not picked and o.in_flight >= picked.in_flight for o in eligible)


@given(st.integers(2, 6))
def test_over_all_rolls_idle_endpoints_share_evenly(count: int) -> None:
    backend, _ = endpoints_in([(True, False, 0)] * count)

    picked = Counter(pick_endpoint(backend, roll) for roll in range(count * (count - 1)))

    assert set(picked.values()) == {count - 1}


@given(st.lists(st.integers(0, 50), min_size=2, max_size=2))
def test_of_two_endpoints_the_less_loaded_takes_every_roll(loads: list[int]) -> None:
    backend, _ = endpoints_in([(True, False, load) for load in loads])

    picked = {pick_endpoint(backend, roll) for roll in range(16)}

    assert {one.in_flight for one in picked if one} == {min(loads)}


def endpoints_in(states: list[tuple[bool, bool, int]]) -> tuple[BackendTable, list[EndpointRef]]:
    """A backend of endpoints (ready, tried, in flight), and those of them that were tried."""
    endpoints = [EndpointRef(f"a/{number}", "", "127.0.0.1", number) for number in range(len(states))]
    for endpoint, (ready, _, load) in zip(endpoints, states, strict=True):
        endpoint.ready = ready
        endpoint.in_flight = load
    tried = [one for one, state in zip(endpoints, states, strict=True) if state[1]]
    return BackendTable("b", "a/b", "", endpoints), tried
