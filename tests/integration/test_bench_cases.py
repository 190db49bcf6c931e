"""The bench's cases: each goes through the real proxy without a failure and says what it cost."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.case import Bench, Case
from benchmarks.cases import bodies, connect, fixed, tcp, websocket
from tests.support.programs import needs
from tests.support.proxy_harness import Metrics
from tulle.http.client import request

SOURCES = Path(__file__).parents[2] / "src"
ALL = (*fixed.CASES, *connect.CASES, *tcp.CASES, *websocket.CASES, *bodies.CASES)


@needs("cc", "nginx", "wrk")
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in ALL])
def test_case_measures_the_service_and_the_proxy(case: Case, tmp_path: Path) -> None:
    bench = Bench(tmp_path, SOURCES, SOURCES, only=frozenset({"direct", "pump", "tulle"}))
    with ExitStack() as started:
        taken = [(probe, probe.take(1, 0.3)) for probe in case.start(bench, started)]

    assert bench.skipped.keys() <= {"connect from=pod"}, "which takes root"
    assert {probe.target for probe, _ in taken} >= {"direct", "tulle"}
    for probe, values in taken:
        assert values["failed"] == 0, probe
        assert values.keys() >= set(case.columns) | {case.figure} or probe.target == "direct"
        assert values.get(case.figure, 1.0) > 0


@needs("cc", "nginx", "wrk")
@pytest.mark.parametrize(
    ("variant", "caller"), [("from=door", "anonymous"), ("from=pod", "prod/till"), ("from=attached", "prod/till")]
)
def test_who_calls_is_known_as_the_variant_says(variant: str, caller: str, tmp_path: Path) -> None:
    if variant == "from=pod" and os.getuid() != 0:
        pytest.skip("a pod's network takes root here")
    [case] = connect.CASES
    bench = Bench(tmp_path, SOURCES, SOURCES, only=frozenset({"tulle"}))
    with ExitStack() as started:
        [probe] = [one for one in case.start(bench, started) if one.variant == variant]
        before = requests_by_caller(tmp_path)
        values = probe.take(1, 0.2)
        after = requests_by_caller(tmp_path)

    assert values["failed"] == 0
    assert {who for who in after if after[who] > before.get(who, 0)} == {caller}


def requests_by_caller(work: Path) -> dict[str, float]:
    metrics = Metrics(request(work / "tulle.sock", "GET", "/metrics").body.decode())
    return {who: metrics.sum("tulle_requests_total", source=who) for who in ("anonymous", "prod/till")}
