"""Two scrapes become rates and quantiles."""

from math import inf

import pytest

from tulle.cli.samples import Pair, flows, quantile, rates

BEFORE = """\
# TYPE tulle_requests_total counter
tulle_requests_total{source="default/web",destination="default/orders",version="v1",response_class="2xx"} 10
tulle_request_duration_seconds_bucket{source="default/web",destination="default/orders",version="v1",le="0.1"} 10
tulle_request_duration_seconds_bucket{source="default/web",destination="default/orders",version="v1",le="+Inf"} 10
"""
AFTER = """\
tulle_requests_total{source="default/web",destination="default/orders",version="v1",response_class="2xx"} 100
tulle_requests_total{source="default/web",destination="default/orders",version="v1",response_class="5xx"} 10
tulle_request_duration_seconds_bucket{source="default/web",destination="default/orders",version="v1",le="0.1"} 110
tulle_request_duration_seconds_bucket{source="default/web",destination="default/orders",version="v1",le="+Inf"} 110
tulle_requests_total{source="dev/cu\\"rious",destination="prod/payments",version="",response_class="4xx"} 5
tulle_denied_total{source="dev/cu\\"rious",destination="prod/payments",policy="default/deny#0",reason="denied"} 4
tulle_snapshot_generation 3
"""


def test_rates_are_differences_over_time() -> None:
    busy, denied = rates(flows(BEFORE), flows(AFTER), 2.0)

    assert (busy.source, busy.destination, busy.version) == ("default/web", "default/orders", "v1")
    assert busy.rps == 50.0
    assert busy.success == 0.9
    assert busy.p50 == pytest.approx(0.05)
    assert (denied.source, denied.rps, denied.denied) == ('dev/cu"rious', 2.5, 2.0)


def test_what_the_mesh_refused_is_no_success_and_a_404_of_the_service_is_one() -> None:
    _, denied = rates(flows(BEFORE), flows(AFTER), 2.0)

    assert denied.success == pytest.approx(0.2)


def test_without_requests_there_is_no_success_to_speak_of() -> None:
    (idle,) = rates(flows(BEFORE), flows(BEFORE), 1.0)

    assert (idle.rps, idle.success) == (0.0, None)


def test_proxy_that_started_anew_counts_from_zero() -> None:
    (busy,) = rates(flows(AFTER), flows(BEFORE), 1.0)

    assert busy.rps == 10.0
    assert busy.success == 1.0


def test_flows_sum_over_routes_and_classes() -> None:
    flow = flows(AFTER)[Pair("default/web", "default/orders", "v1")]

    assert (flow.requests, flow.succeeded, flow.denied) == (110, 100, 0)
    assert flow.quantile(0.5) == pytest.approx(0.05)


def test_a_flow_since_itself_is_nothing() -> None:
    flow = flows(AFTER)[Pair("default/web", "default/orders", "v1")]

    nothing = flow.since(flow)

    assert (nothing.requests, nothing.succeeded, nothing.quantile(0.5)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({}, 0.5, 0.0),
        ({0.1: 0.0, inf: 0.0}, 0.5, 0.0),
        ({0.1: 100.0, 0.2: 100.0, inf: 100.0}, 0.5, 0.05),
        ({0.1: 50.0, 0.2: 100.0, inf: 100.0}, 0.75, 0.15),
        ({0.1: 0.0, 0.2: 0.0, inf: 10.0}, 0.99, 0.2),
    ],
)
def test_quantile_is_interpolated_in_its_bucket(buckets: dict[float, float], share: float, expected: float) -> None:
    assert quantile(buckets, share) == pytest.approx(expected)
