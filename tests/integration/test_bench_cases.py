"""The bench's cases: each goes through the real proxy without a failure and says what it cost."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.case import Bench, Case
from benchmarks.cases import bodies, connect, fixed, tcp, websocket
from tests.support.programs import needs

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
