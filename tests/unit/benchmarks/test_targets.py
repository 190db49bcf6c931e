"""Whether a run meets the targets, and that each of them can be answered at all."""

from __future__ import annotations

import pytest

from benchmarks.cases import CASES
from benchmarks.targets import TARGETS, Question, Target, answer, judge, ratio_to, value_of
from tests.unit.benchmarks.runs import run_of

COSTS = {("", "tulle"): [8.0, 30.0, 12.0], ("", "haproxy"): [10.0, 20.0, 10.0]}


def verdict(target: Target, costs: dict[tuple[str, str], list[float]]) -> str:
    [judged] = judge(run_of(costs), (target,))
    return judged.verdict


@pytest.mark.parametrize(("bound", "said"), [(1.2, "met"), (1.19, "missed")])
def test_cost_may_be_at_most_its_bound(bound: float, said: str) -> None:
    assert verdict(Target("cost", "≤", bound, "", ratio_to("haproxy", "http1")), COSTS) == said


@pytest.mark.parametrize(("bound", "said"), [(1.2, "met"), (1.21, "missed")])
def test_rate_must_be_at_least_its_bound(bound: float, said: str) -> None:
    assert verdict(Target("rate", "≥", bound, "", ratio_to("haproxy", "http1")), COSTS) == said


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert verdict(Target("cost", "≤", 1, "", ratio_to("envoy", "http1")), COSTS) == "not measured"
    assert verdict(Target("cost", "≤", 1, "", value_of("http1", "", "tulle", "ms", "ms")), COSTS) == "not measured"


def test_what_cannot_be_told_from_unchanged_meets_a_target_of_no_change_alone() -> None:
    question = ratio_to("haproxy", "http1")

    assert verdict(Target("cost", "≤", 1.05, "", question), COSTS) == "missed"
    assert verdict(Target("cost", "≤", 1.05, "", question, or_noise=True), COSTS) == "met within noise"
    assert verdict(Target("cost", "≤", 1.25, "", question, or_noise=True), COSTS) == "met"
    dearer = COSTS | {("", "tulle"): [11.0, 30.0, 12.0]}
    assert verdict(Target("cost", "≤", 1.05, "", question, or_noise=True), dearer) == "missed"


def test_value_is_judged_in_the_unit_of_its_target() -> None:
    run = run_of({("", "tulle"): [2048.0, 3072.0]}, value="rss_kb")

    found = answer(run, value_of("http1", "", "tulle", "rss_kb", "MB", 1 / 1024))

    assert found is not None
    assert (found.value, found.words) == (2.5, "2.50 MB (2.00–3.00)")


def test_what_holds_of_every_request_is_missed_by_one_round() -> None:
    question = value_of("http1", "", "tulle", "cpu_us", "ms")

    assert verdict(Target("wait", "≤", 20, "", question), COSTS) == "met"
    assert verdict(Target("wait", "≤", 20, "", question._replace(is_worst=True)), COSTS) == "missed"
    assert verdict(Target("wait", "≤", 30, "", question._replace(is_worst=True)), COSTS) == "met"


def test_ratio_says_its_spread_and_to_whom() -> None:
    found = answer(run_of(COSTS), ratio_to("haproxy", "http1"))

    assert found is not None
    assert found.words == "1.20 (0.80–1.50) × haproxy"


def test_ratio_is_in_the_same_variant_unless_said() -> None:
    assert ratio_to("haproxy", "http1", "heads=repeat").peer_variant == "heads=repeat"
    assert ratio_to("tulle", "policies", "policies=100", peer_variant="policies=10") == Question(
        "policies", "policies=100", "tulle", "cpu_us", "tulle", "policies=10"
    )


def test_cases_have_names_of_their_own() -> None:
    names = [case.name for case in CASES]

    assert len(names) == len(set(names))


def test_targets_have_words_of_their_own() -> None:
    assert len({target.what for target in TARGETS}) == len(TARGETS)
