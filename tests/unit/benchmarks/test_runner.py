"""How cases are measured: in alternation, warmed up, and without what breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.process import Lacking
from benchmarks.record import Run
from benchmarks.runner import Pace, expected_seconds, measure_case, pace

Start = Callable[[Bench, ExitStack], Sequence[Probe]]


class Notes:
    """Probes that note when they are asked; `breaks` names the round in which a target does."""

    def __init__(self, **breaks: int) -> None:
        self.taken: list[tuple[str, int, float]] = []
        self.breaks = breaks

    def probe(self, target: str, variant: str = "") -> Probe:
        def take(number: int, seconds: float) -> Values:
            self.taken.append((target, number, seconds))
            if self.breaks.get(target) == number:
                raise ValueError("it broke")
            return {"cpu_us": 1.0 + number}

        return Probe(target, variant, take)

    def case(self, *targets: str) -> Case:
        return case_of(lambda bench, started: [self.probe(target) for target in targets])


def case_of(start: Start, quick: tuple[int, float] | None = None) -> Case:
    return Case("one", "One", "request", start, windows=3, rounds=2, seconds=2.0, warm=0.5, quick=quick)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, tmp_path, tmp_path)


def measured(case: Case, bench: Bench, *variants: str) -> Run:
    run = Run(machine={}, command="", skipped=bench.skipped)
    measure_case(case, bench, Pace(rounds=2, seconds=3.0, warm=0.5), run, variants)
    return run


def test_targets_alternate_round_by_round_and_the_first_window_of_each_is_short_and_not_kept(bench: Bench) -> None:
    notes = Notes()

    run = measured(notes.case("a", "b"), bench)

    assert notes.taken == [("a", 0, 0.5), ("b", 0, 0.5), *((t, n, 3.0) for n in (1, 2) for t in ("a", "b"))]
    assert [(s.target, s.round, s.values) for s in run.samples] == [
        (target, number, {"cpu_us": 1.0 + number}) for number in (1, 2) for target in ("a", "b")
    ]


def test_each_round_begins_with_the_fixed_loop_on_both_cores(bench: Bench) -> None:
    run = measured(Notes().case("a"), bench)

    assert {c.round for c in run.calibrations} == {0, 1, 2}
    assert all(c.wall_ms > 0 and c.cpu_ms > 0 for c in run.calibrations)


def test_probe_that_breaks_is_named_and_left_alone_while_the_others_go_on(bench: Bench) -> None:
    notes = Notes(a=1)

    run = measured(notes.case("a", "b"), bench)

    assert [target for target, number, _ in notes.taken if number == 2] == ["b"]
    assert run.skipped == {"one  a": "it broke"}
    assert bench.broken == ["one  a"]
    assert [(s.target, s.round) for s in run.samples] == [("b", 1), ("b", 2)]


def test_only_the_targets_and_variants_that_were_asked_for_are_measured(bench: Bench) -> None:
    notes = Notes()
    bench.only = frozenset({"a"})
    case = case_of(lambda bench, started: [notes.probe(t, v) for t in ("a", "b") for v in ("x", "y")])

    run = measured(case, bench, "y")

    assert {(s.target, s.variant) for s in run.samples} == {("a", "y")}


def test_case_that_lacks_something_is_named_and_has_ended_what_it_started(bench: Bench) -> None:
    ended: list[bool] = []

    def start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
        started.callback(ended.append, True)
        raise Lacking("no compiler (apt-get install gcc)")

    run = measured(case_of(start), bench)

    assert (run.samples, run.skipped, ended) == ([], {"one": "no compiler (apt-get install gcc)"}, [True])
    assert bench.broken == []


def test_probe_that_lacks_something_is_no_fault(bench: Bench) -> None:
    def lack(number: int, seconds: float) -> Values:
        raise Lacking("no root here")

    run = measured(case_of(lambda bench, started: [Probe("a", "", lack)]), bench)

    assert (run.skipped, bench.broken) == ({"one  a": "no root here"}, [])


def test_pace_is_what_was_asked_for_else_the_cases_own() -> None:
    case = case_of(lambda bench, started: [], quick=(1, 0.25))

    assert pace(case, quick=False, rounds=None, seconds=None) == Pace(2, 2.0, 0.5)
    assert pace(case, quick=True, rounds=None, seconds=None) == Pace(1, 0.25, 0.25)
    assert pace(case, quick=True, rounds=7, seconds=None) == Pace(7, 0.25, 0.25)
    assert pace(case, quick=False, rounds=None, seconds=0.1) == Pace(2, 0.1, 0.1)


def test_longer_rounds_are_expected_to_take_longer() -> None:
    case = case_of(lambda bench, started: [])

    more = expected_seconds(case, Pace(4, 2.0, 0.5)) - expected_seconds(case, Pace(2, 2.0, 0.5))
    assert more >= 2 * 3 * 2.0
