"""How the bench comes from what programs print to medians, ranges and ratios."""

from __future__ import annotations

import pytest

from benchmarks.load import Heads, Load, read_result
from benchmarks.measure import Sample, as_sample, ticks_micros
from benchmarks.report import as_table

WRK = """Running 3s test @ http://127.0.0.1:8080
  1 threads and 64 connections
  Requests/sec:  20000.00

RESULT {"requests":60000,"micros":3000000,"failed":2,"p50_us":900,"p99_us":4100}
"""


def sample(target: str, heads: Heads, user: float | None, system: float | None) -> Sample:
    spent = None if user is None or system is None else (user * 1000, system * 1000)
    return as_sample(target, heads, 1, Load(1000, 500_000, 0, 10, 20), spent, None if spent is None else 2048)


def row(table: str, heads: Heads, target: str) -> list[str]:
    [line] = [line for line in table.splitlines() if line.split()[:2] == [heads, target]]
    return line.split()[2:]


def test_result_of_the_load_is_found_among_its_words() -> None:
    assert read_result(WRK) == Load(requests=60000, micros=3000000, failed=2, p50_us=900, p99_us=4100)


@pytest.mark.parametrize("said", ["", WRK.replace("RESULT", "result"), WRK + WRK], ids=["none", "other", "twice"])
def test_load_that_did_not_say_its_result_once_is_no_sample(said: str) -> None:
    with pytest.raises(ValueError, match="unpack"):
        read_result(said)


def test_cpu_time_is_read_past_a_name_with_blanks_and_parentheses() -> None:
    stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 900 0 0 0 250 75 9 9 20 0 1 0 100"

    assert ticks_micros(stat, 100) == (2_500_000.0, 750_000.0)


def test_cost_is_per_request_and_rate_per_second() -> None:
    one = as_sample("a", "repeat", 3, read_result(WRK), (120_000.0, 600_000.0), 1024)

    assert (one.user_us, one.system_us, one.cpu_us) == (2.0, 10.0, 12.0)
    assert (one.rate, one.failed, one.round, one.rss_kb) == (20_000.0, 2, 3, 1024)


def test_backend_without_a_proxy_has_a_rate_and_no_cost() -> None:
    direct = sample("direct", "repeat", None, None)

    assert (direct.cpu_us, direct.user_us, direct.rate) == (None, None, 2000.0)
    assert row(as_table([direct]), "repeat", "direct") == ["2000", "10", "20"]


def test_table_shows_median_range_and_ratios_of_medians_by_kind_of_head() -> None:
    samples = [
        *(sample("tulle", "repeat", 1.0, system) for system in (9.0, 99.0, 7.0)),
        *(sample("envoy", "repeat", 20.0, system) for system in (0.0, 20.0, 5.0)),
        *(sample("haproxy", "repeat", 2.0, system) for system in (6.0, 2.0, 18.0)),
        sample("tulle", "differ", 5.0, 5.0),
        sample("envoy", "differ", 20.0, 20.0),
    ]
    table = as_table(samples)

    assert row(table, "repeat", "tulle")[:7] == ["10.00", "8.00", "100.00", "1.00", "9.00", "0.40", "1.25"]
    assert row(table, "differ", "tulle")[:7] == ["10.00", "10.00", "10.00", "5.00", "5.00", "0.25", "-"]
    assert row(table, "repeat", "tulle")[-1] == "2.0"


def test_rate_of_one_outlier_does_not_move_the_median() -> None:
    samples = [sample("tulle", "repeat", 1.0, 1.0)._replace(rate=rate) for rate in (100.0, 101.0, 9_000.0)]

    assert row(as_table(samples), "repeat", "tulle")[-4] == "101"
