"""Counts handed from one proxy to another, perhaps of another version."""

import msgspec

from tulle.proxy.counters import BOUNDS, CLOSED, Counters
from tulle.proxy.estate import Estate, PairLine, SeriesLine, add, estate_of, sum_of
from tulle.proxy.grpc import STATUSES
from tulle.proxy.telemetry import Telemetry

KEY = ("web", "orders", "v1", "orders", "grpc")
OK = STATUSES.index("OK")


def counted() -> Counters:
    """Something of everything."""
    counters = Counters()
    pair = counters.pair(*KEY)
    counters.finish(pair, 1, 0.003, 10, 20, OK)
    counters.finish(pair, CLOSED, 40.0, 1, 2)
    link = counters.link("web", "orders", "http2")
    link.total, link.open = 3, 2
    counters.deny("web", "orders", "closed", "denied", False)
    counters.deny("web", "orders", "closed", "denied", True)
    counters.answer("web", "orders", "denied")
    counters.retry("web", "orders", "v1", "connect")
    counters.close_websocket("web", "orders", "v1", "1000", "caller")
    counters.refuse("web", "limit")
    counters.turn_away("web", "orders")
    counters.snapshots["accepted"] = 4
    counters.in_flight, counters.upstreams, counters.held, counters.tap_dropped, counters.defects = 1, 2, 3, 4, 5
    return counters


def told(counters: Counters) -> list[str]:
    """What a scrape says, but for what a process says of itself."""
    text = Telemetry(counters, "0", lambda: 1).text()
    return [line for line in text.splitlines() if not line.startswith(("process_", "tulle_build_info"))]


def across(counters: Counters) -> Estate:
    """As it comes to the other process."""
    return msgspec.json.decode(msgspec.json.encode(estate_of(counters, [])), type=Estate)


def test_what_is_handed_over_is_told_as_it_was() -> None:
    assert told(sum_of(Counters(), across(counted()))) == told(counted())


def test_every_count_is_doubled_by_another_one_like_it() -> None:
    both = sum_of(counted(), across(counted()))

    one = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in told(counted()) if line[0] != "#"}
    two = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in told(both) if line[0] != "#"}
    assert two == {name: 2 * value for name, value in one.items()}


def test_what_an_ended_proxy_held_is_held_no_more() -> None:
    counters = Counters()

    add(counters, across(counted()), is_over=True)

    assert (counters.in_flight, counters.upstreams, counters.held) == (0, 0, 0)
    link = counters.link("web", "orders", "http2")
    assert (link.total, link.open) == (3, 0)
    assert counters.defects == 5


def test_what_the_snapshot_in_force_does_not_know_is_not_taken_over() -> None:
    counters = Counters()
    counters.keep_only({"web"}, {"billing"})

    add(counters, across(counted()), is_over=True)

    assert counters.pairs == {}


def test_another_version_may_have_other_buckets_and_classes() -> None:
    older = Estate(
        bounds=[0.002, 100.0],
        pairs=[
            PairLine(
                KEY,
                {"2xx": SeriesLine(6, 1.5, [1, 2, 3], 0, 0), "teapot": SeriesLine(9, 9.0, [9, 0, 0], 0, 0)},
                {"OK": 6, "TEAPOT": 9},
            )
        ],
    )
    counters = Counters()

    add(counters, older, is_over=True)

    series = counters.pairs[KEY].series
    assert [index for index, one in enumerate(series) if one is not None] == [1]
    found = counters.pairs[KEY].of(1)
    assert (found.count, found.seconds) == (6, 1.5)
    assert found.buckets[BOUNDS.index(0.0025)] == 1
    assert found.buckets[-1] == 5
    assert (counters.pairs[KEY].grpc or [])[OK] == 6
    assert sum(counters.pairs[KEY].grpc or []) == 6


def test_a_document_of_a_younger_version_is_read_as_far_as_it_is_known() -> None:
    text = msgspec.json.encode({"totals": {"defects": 1, "more": 2}, "more": [1], "tables": {"more": [[["a"], 1]]}})
    counters = Counters()

    add(counters, msgspec.json.decode(text, type=Estate), is_over=True)

    assert counters.defects == 1
