"""How the bench comes from what programs and the kernel say to costs, medians, ranges and ratios."""

from __future__ import annotations

import pytest

from benchmarks import http2
from benchmarks.load import Load, read_result
from benchmarks.measure import TICKS_PER_SECOND, Spent, per_unit, shared_out, ticks_micros
from benchmarks.noise import Reading, between, machine_seconds, tree_seconds
from benchmarks.summary import Ratio, figure, ratio
from tests.unit.benchmarks.runs import run_of

WRK = """Running 3s test @ http://127.0.0.1:8080
  1 threads and 64 connections
  Requests/sec:  20000.00

RESULT {"requests":60000,"micros":3000000,"failed":2,"p50_us":900,"p99_us":4100}
"""

H2LOAD = """
finished in 1.01s, 129728.00 req/s, 9.90MB/s
requests: 129728 total, 129856 started, 129728 done, 129725 succeeded, 1 failed, 2 errored, 4 timeout
time for request:      103us     10.25ms       1.25ms      1.09ms    89.34%
time for connect:       74us       171us       129us        41us    50.00%
"""


def test_result_of_h2load_is_its_rate_its_failures_and_the_mean() -> None:
    load = http2.read_result(H2LOAD)

    assert (load.requests, load.failed, load.p50_us) == (129725, 7, 1250)
    assert load.requests / load.micros * 1e6 == pytest.approx(129728, rel=1e-4)


def test_h2load_that_got_no_answer_is_no_sample() -> None:
    with pytest.raises(ValueError, match="no result"):
        http2.read_result(H2LOAD.replace("129728.00", "0.00"))


def test_result_of_the_load_is_found_among_its_words() -> None:
    assert read_result(WRK) == Load(requests=60000, micros=3000000, failed=2, p50_us=900, p99_us=4100)


@pytest.mark.parametrize("said", ["", WRK.replace("RESULT", "result"), WRK + WRK], ids=["none", "other", "twice"])
def test_load_that_did_not_say_its_result_once_is_no_sample(said: str) -> None:
    with pytest.raises(ValueError, match="unpack"):
        read_result(said)


def test_cpu_time_is_read_past_a_name_with_blanks_and_parentheses() -> None:
    stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 900 0 0 0 250 75 9 9 20 0 1 0 100"

    assert ticks_micros(stat, 100) == (2_500_000.0, 750_000.0)


def test_parts_counted_in_ticks_add_up_to_the_exact_whole() -> None:
    assert shared_out(95.0, 60.0, 40.0) == (57.0, 38.0)


def test_ticks_stand_where_the_kernel_has_no_exact_sum() -> None:
    assert shared_out(0.0, 60.0, 40.0) == (60.0, 40.0)


def test_what_was_spent_before_the_first_tick_is_not_lost() -> None:
    assert sum(shared_out(9000.0, 0.0, 0.0)) == 9000.0


def test_cost_is_per_request_and_rate_per_second() -> None:
    values = per_unit(read_result(WRK), Spent(user_us=120_000.0, system_us=600_000.0, rss_kb=1024))

    assert (values["user_us"], values["system_us"], values["cpu_us"]) == (2.0, 10.0, 12.0)
    assert (values["rate"], values["failed"], values["rss_kb"]) == (20_000.0, 2, 1024)


def test_backend_without_a_proxy_has_a_rate_and_no_cost() -> None:
    values = per_unit(read_result(WRK), None)

    assert values["rate"] == 20_000.0
    assert not {"cpu_us", "user_us", "system_us", "rss_kb"} & values.keys()


def test_window_without_an_answer_is_no_sample() -> None:
    with pytest.raises(ValueError, match="nothing was answered"):
        per_unit(Load(0, 1, 0, 0, 0), None)


def test_outlier_moves_the_range_and_not_the_median() -> None:
    run = run_of({("", "tulle"): [10.0, 100.0, 8.0]})

    assert figure(run, "http1", "", "tulle", "cpu_us") == (10.0, 8.0, 100.0)


def test_ratio_is_of_medians_and_its_spread_of_each_round_alone() -> None:
    run = run_of({("", "tulle"): [8.0, 30.0, 12.0], ("", "envoy"): [40.0, 60.0, 20.0]})

    assert ratio(run, "http1", "", "tulle", "cpu_us", "envoy") == Ratio(0.3, 0.2, 0.6)


def test_round_that_a_peer_lacks_counts_for_neither() -> None:
    run = run_of({("", "tulle"): [8.0, 30.0, 12.0], ("", "envoy"): [40.0]})

    assert ratio(run, "http1", "", "tulle", "cpu_us", "envoy") == Ratio(0.2, 0.2, 0.2)


def test_ratio_may_be_to_another_variant() -> None:
    run = run_of({("policies=10", "tulle"): [10.0], ("policies=100", "tulle"): [11.0]})

    assert ratio(run, "http1", "policies=100", "tulle", "cpu_us", "tulle", "policies=10") == Ratio(1.1, 1.1, 1.1)


def test_there_is_no_ratio_to_who_was_not_measured() -> None:
    run = run_of({("", "tulle"): [10.0], ("", "idle"): [0.0]})

    assert ratio(run, "http1", "", "tulle", "cpu_us", "envoy") is None
    assert ratio(run, "http1", "", "tulle", "cpu_us", "idle") is None


def test_there_is_no_ratio_to_less_than_nothing() -> None:
    """As what a proxy adds to latency may be: that another adds more must not read as less than once as much."""
    run = run_of({("", "tulle"): [90.0, 100.0, 110.0], ("", "haproxy"): [-50.0, -10.0, 20.0]}, value="added_p99_us")

    assert ratio(run, "http1", "", "tulle", "added_p99_us", "haproxy") is None


def test_round_in_which_a_peer_has_less_than_nothing_counts_for_medians_alone() -> None:
    run = run_of({("", "tulle"): [90.0, 100.0, 120.0], ("", "haproxy"): [-50.0, 40.0, 50.0]}, value="added_p99_us")

    assert ratio(run, "http1", "", "tulle", "added_p99_us", "haproxy") == Ratio(2.5, 2.4, 2.5)


def test_others_have_what_was_busy_and_not_ours() -> None:
    noise = between(Reading(at=10, busy=100, stolen=4, ours=50), Reading(at=12, busy=103, stolen=4.5, ours=51))

    assert (noise.others, noise.stolen) == (1.0, 0.25)


def test_moment_too_short_for_ticks_says_nothing_of_others() -> None:
    noise = between(Reading(at=10, busy=100, stolen=4, ours=50), Reading(at=10.01, busy=100.02, stolen=4, ours=50))

    assert (noise.others, noise.stolen) == (0.0, 0.0)


def test_busy_is_neither_idle_nor_waiting_nor_stolen() -> None:
    stat = "cpu  100 10 50 9000 8000 3 7 40 0 0\ncpu0 50 5 25 4500 4000 2 3 20 0 0\n"

    assert machine_seconds(stat, 10) == (17.0, 4.0)


def test_cpu_of_the_whole_tree_is_ours_and_of_nobody_else() -> None:
    stats = {1: (0, 500), 7: (1, 10), 8: (7, 20), 9: (8, 30), 11: (1, 400)}

    assert tree_seconds(stats, 7) == 60 / TICKS_PER_SECOND
