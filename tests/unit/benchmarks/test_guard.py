"""What is held to the checked-in figures: what fails, what passes, what is measured again."""

from collections.abc import Collection
from pathlib import Path

import pytest

from benchmarks import counts, ratios
from benchmarks.guard import RENEWAL, settle, verdict_words
from benchmarks.process import Broken
from benchmarks.reference import (
    COMPARED,
    COUNTED,
    Figures,
    Finding,
    Reference,
    Verdict,
    compare,
    read_reference,
    write_reference,
)

WAS: Figures = {"http1-repeat": {"instructions": 1000.0}, "grpc-repeat": {"instructions": 500.0}}


@pytest.mark.parametrize(
    ("now", "verdict"),
    [(949, Verdict.BETTER), (950, Verdict.SAME), (1050, Verdict.SAME), (1051, Verdict.WORSE)],
)
def test_counts_may_differ_by_a_twentieth_either_way(now: float, verdict: Verdict) -> None:
    [finding] = compare(WAS, {"http1-repeat": {"instructions": now}}, COUNTED)

    assert finding == Finding("http1-repeat", "instructions", 1000.0, now, verdict)


@pytest.mark.parametrize(("now", "verdict"), [(0.1, Verdict.SAME), (1.0, Verdict.SAME), (1.01, Verdict.WORSE)])
def test_ratios_may_be_a_quarter_more_and_any_less(now: float, verdict: Verdict) -> None:
    [finding] = compare({"http1": {"haproxy": 0.8}}, {"http1": {"haproxy": now}}, COMPARED)

    assert finding.verdict is verdict


def test_what_the_reference_does_not_know_is_new() -> None:
    found = compare(WAS, {"http1-repeat": {"allocations": 3.0}, "tcp": {"instructions": 1.0}}, COUNTED)

    assert [finding.verdict for finding in found] == [Verdict.NEW, Verdict.NEW]


class Measured:
    """Figures of one try after the other; None for one that broke."""

    def __init__(self, *tries: dict[str, float] | None) -> None:
        self.asked: list[list[str]] = []
        self._tries = iter(tries)

    def __call__(self, cases: Collection[str]) -> Figures:
        self.asked.append(list(cases))
        figures = next(self._tries)
        if figures is None:
            raise Broken("1 requests failed")
        return {case: {"instructions": figures[case]} for case in cases}


def test_what_was_noise_passes_and_only_it_is_measured_again() -> None:
    measure = Measured({"http1-repeat": 1000, "grpc-repeat": 600}, {"grpc-repeat": 510})

    found = settle(measure, WAS, WAS, COUNTED, 3)

    assert [finding.verdict for finding in found] == [Verdict.SAME, Verdict.SAME]
    assert measure.asked == [["http1-repeat", "grpc-repeat"], ["grpc-repeat"]]


def test_a_regression_fails_after_three_tries() -> None:
    measure = Measured(
        {"http1-repeat": 1000, "grpc-repeat": 600}, {"grpc-repeat": 590}, {"grpc-repeat": 580}, {"grpc-repeat": 500}
    )

    found = settle(measure, WAS, WAS, COUNTED, 3)

    assert [(finding.now, finding.verdict) for finding in found] == [(1000, Verdict.SAME), (580, Verdict.WORSE)]
    assert len(measure.asked) == 3


def test_what_broke_is_measured_again() -> None:
    measure = Measured(None, {"http1-repeat": 1000, "grpc-repeat": 600}, {"grpc-repeat": 500})

    found = settle(measure, WAS, WAS, COUNTED, 3)

    assert [finding.verdict for finding in found] == [Verdict.SAME, Verdict.SAME]
    assert measure.asked == [["http1-repeat", "grpc-repeat"]] * 2 + [["grpc-repeat"]]


def test_what_is_broken_at_the_last_try_is_a_fault() -> None:
    measure = Measured({"http1-repeat": 1000, "grpc-repeat": 600}, {"grpc-repeat": 600}, None)

    with pytest.raises(Broken):
        settle(measure, WAS, WAS, COUNTED, 3)


def test_what_to_do_names_the_figure_or_the_command_that_renews() -> None:
    worse = Finding("grpc-repeat", "instructions", 500.0, 600.0, Verdict.WORSE)
    new = Finding("tcp", "instructions", None, 900.0, Verdict.NEW)

    assert "grpc-repeat instructions" in verdict_words([new, worse])
    assert verdict_words([new]).endswith(RENEWAL)


def test_a_reference_comes_back_as_it_was_written(tmp_path: Path) -> None:
    counts = {"CPython, x86_64": {"grpc-repeat": {"instructions": 30144.0, "system calls": 0.2103}}}
    path = tmp_path / "reference.json"

    write_reference(Reference(counts, {"http1": {"haproxy": 0.923456}}), path)

    assert read_reference(path) == Reference(
        {"CPython, x86_64": {"grpc-repeat": {"instructions": 30140.0, "system calls": 0.2103}}},
        {"http1": {"haproxy": 0.9235}},
    )
    assert read_reference(tmp_path / "none.json") == Reference()


def test_the_checked_in_reference_knows_every_case() -> None:
    reference = read_reference()

    assert reference.counts
    for counted in reference.counts.values():
        assert set(counted) == set(counts.CASES)
        assert all(set(figures) == {"instructions", "allocations", "system calls"} for figures in counted.values())
    assert set(reference.ratios) == set(ratios.CASES)
    assert all(set(figures) == {"to haproxy", "to envoy"} for figures in reference.ratios.values())
