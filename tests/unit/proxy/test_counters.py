"""What is counted is shown, under the names that are documented."""

import re

from tulle.core.policies import ANONYMOUS
from tulle.proxy.counters import ABORTED, CLASSES, CLOSED, Counters
from tulle.proxy.metrics import METRICS
from tulle.proxy.telemetry import Telemetry

SHOWN = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)


def counted() -> Counters:
    counters = Counters()
    pair = counters.pair("default/web", "default/orders", "v1", "default/orders", "http")
    counters.finish(pair, 1, 0.003, 10, 20)
    counters.finish(pair, ABORTED, 7.0, 1, 2)
    counters.link("default/web", "default/orders", "http").open += 1
    counters.deny("default/web", "default/orders", "default/none", "denied", False)
    counters.answer("default/web", "default/orders", "denied")
    counters.retry("default/web", "default/orders", "v1", "stale")
    counters.refuse("default/web", "direct")
    return counters


def test_every_documented_metric_is_exposed_once_and_no_other() -> None:
    shown = SHOWN.findall(Telemetry(counted(), "0", lambda: 1).text())
    assert shown == [(metric.name, str(metric.kind)) for metric in METRICS]


def test_buckets_are_cumulative_and_end_with_the_count() -> None:
    text = Telemetry(counted(), "0", lambda: 1).text()
    counts = [int(n) for n in re.findall(r'_bucket\{[^}]*response_class="2xx",le="[^"]+"\} (\d+)', text)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 1)


def test_label_values_are_escaped() -> None:
    counters = Counters()
    counters.refuse('a"b\\c\nd', "direct")
    assert 'source="a\\"b\\\\c\\nd"' in Telemetry(counters, "0", lambda: 1).text()


def test_a_pair_that_left_is_forgotten_and_one_that_stayed_is_not() -> None:
    counters = counted()
    counters.keep_only({"default/web"}, {"default/orders"})
    assert len(counters.pairs) == 1
    pair = next(iter(counters.pairs.values()))
    counters.keep_only({"default/web"}, {"default/payments"})
    assert (counters.pairs, counters.denied, counters.retries, counters.answers) == ({}, {}, {}, {})
    assert len(counters.links) == 1, "a connection is still open"
    counters.finish(pair, 1, 0.1, 0, 0)
    assert counters.pairs == {}, "a late end does not bring it back"


def test_calls_are_shown_by_the_name_of_their_status() -> None:
    counters = Counters()
    pair = counters.pair("default/web", "default/orders", "v1", "default/orders", "grpc")
    counters.finish(pair, 1, 0.1, 0, 0, 0)
    counters.finish(pair, 4, 0.1, 0, 0, 14)
    counters.finish(pair, 4, 0.1, 0, 0, 14)
    text = Telemetry(counters, "0", lambda: 1).text()
    labels = 'source="default/web",destination="default/orders",version="v1",route="default/orders",grpc_status='
    shown = [line for line in text.splitlines() if line.startswith("tulle_grpc_responses_total{")]
    assert shown == [
        f'tulle_grpc_responses_total{{{labels}"OK"}} 1',
        f'tulle_grpc_responses_total{{{labels}"UNAVAILABLE"}} 2',
    ]


def test_opaque_connections_are_no_requests() -> None:
    counters = Counters()
    pair = counters.pair(ANONYMOUS.service, "default/db", "", "default/db", "tcp")
    counters.finish(pair, CLOSED, 1.0, 5, 6)
    text = Telemetry(counters, "0", lambda: 1).text()
    assert "tulle_requests_total{" not in text
    assert f'response_class="{CLASSES[CLOSED]}"' in text
