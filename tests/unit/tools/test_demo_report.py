"""The demo's verdict: good when all is as it should be, and in words what is not."""

from collections import Counter

import pytest

from tools.demo_report import Seen, judge
from tools.exposition import parse
from tools.footprint import Footprint
from tools.load import Failure, Report

PAIRS = (
    ("anonymous", "default/web", "", "2xx", 10_000),
    ("default/web", "default/orders", "v1", "2xx", 9_900),
    ("default/web", "default/orders", "v2", "2xx", 100),
    ("default/orders", "prod/payments", "", "2xx", 10_000),
    ("dev/spy", "prod/payments", "", "4xx", 40),
)
DENIED = (("dev/spy", "prod/payments", "prod/dev-never-in-prod", 40),)


def counted(v2: int) -> tuple[tuple[str, str, str, str, int], ...]:
    """What the proxy counted where so many pages came by v2."""
    by = {"v1": 10_000 - v2, "v2": v2}
    return tuple((*pair[:4], by.get(pair[2], pair[4])) for pair in PAIRS)


def seen(
    v2: int = 100,
    pairs: tuple[tuple[str, str, str, str, int], ...] = PAIRS,
    denied: tuple[tuple[str, str, str, int], ...] = DENIED,
    lost: int = 0,
) -> Seen:
    through = Report(
        sent=10_000 + lost,
        statuses=Counter({200: 10_000}),
        versions=Counter({"v1": 10_000 - v2, "v2": v2}),
        failures=Counter({Failure.RESET: lost} if lost else {}),
    )
    lines = [
        f'tulle_requests_total{{source="{a}",destination="{b}",version="{v}",response_class="{c}"}} {n}'
        for a, b, v, c, n in pairs
    ]
    lines += [
        f'tulle_denied_total{{source="{a}",destination="{b}",policy="{p}",reason="denied"}} {n}'
        for a, b, p, n in denied
    ]
    return Seen(through, Report(), parse("\n".join(lines)), Footprint(()))


def test_all_as_it_should_be_is_no_fault() -> None:
    assert judge(seen()) == []


@pytest.mark.parametrize("v2", [100 - 35, 100 + 35])
def test_what_comes_by_chance_once_in_a_thousand_demos_is_no_fault(v2: int) -> None:
    assert judge(seen(v2, pairs=counted(v2))) == []


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (seen(v2=500), "500 of 10000 by v2 is outside the 99.9999 % bound"),
        (seen(v2=0), "0 of 10000 by v2 is outside"),
        (seen(lost=1), "1 of 10001 requests failed: 1 reset"),
        (seen(pairs=PAIRS[1:2]), "the proxy counted 9900 requests to orders for 10000 pages"),
        (seen(denied=()), "dev/spy was never refused at prod/payments"),
        (seen(denied=(("dev/spy", "prod/payments", "", 40),)), "a refusal of dev/spy names no policy"),
        (seen(pairs=(*PAIRS, ("dev/spy", "prod/payments", "", "2xx", 1))), "1 requests of dev/spy reached prod/payments"),
        (seen(pairs=(*PAIRS, ("anonymous", "default/web", "", "5xx", 2))), "2 requests failed from anonymous to default/web"),
        (seen(denied=(*DENIED, ("default/web", "default/orders", "x", 1))), "refused, and should not be: default/web"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_should_be_is_said(found: Seen, says: str) -> None:
    assert [fault for fault in judge(found) if says in fault], judge(found)
