"""What a run looks like: tables, words about noise, a picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.plot import as_svg
from benchmarks.record import read_run, write_run
from benchmarks.report import PLAIN, as_text, case_rows, markdown_table, noise_words, text_table
from tests.unit.benchmarks.runs import add, run_of

SVG = "{http://www.w3.org/2000/svg}"
COSTS = {
    ("heads=repeat", "envoy"): [40.0, 44.0, 60.0],
    ("heads=repeat", "tulle"): [10.0, 11.0, 12.0],
    ("heads=differ", "envoy"): [40.0],
    ("heads=differ", "tulle"): [20.0],
}


def test_table_has_median_range_ratio_with_spread_and_what_else_was_measured() -> None:
    run = run_of(COSTS)

    rows = case_rows(run, "http1", run.cases["http1"])

    assert rows[0] == [
        *("variant", "target", "cpu_us", "min", "max", "÷ envoy (spread)"),
        *("user_us", "system_us", "requests/s", "RSS MB"),
    ]
    assert rows[2] == [
        *("heads=repeat", "tulle", "11.0", "10.0", "12.0", "0.25 (0.20–0.25)"),
        *("2.75", "8.25", "1000", "2.00"),
    ]
    assert rows[4][:6] == ["heads=differ", "tulle", "20.0", "20.0", "20.0", "0.50 (0.50–0.50)"]


def test_case_of_one_variant_does_not_name_it() -> None:
    run = run_of({("", "tulle"): [1.0]})

    assert case_rows(run, "http1", run.cases["http1"])[0][0] == "target"


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    rows = [("name", "cost"), ("a", "1.00"), ("longer", "10.0")]

    assert text_table(rows) == "name    cost\na       1.00\nlonger  10.0"
    assert markdown_table(rows) == "| name | cost |\n|---|---:|\n| a | 1.00 |\n| longer | 10.0 |"


def test_noise_is_told_by_what_others_had_and_by_the_same_loop() -> None:
    words = noise_words(run_of({("", "tulle"): [1.0, 1.0]}))

    assert "in 2 windows other programs had 0.25 (at most 0.25) cores, the hypervisor 0.00" in words
    assert "core 0: a loop of 10.0 ms took 1.25 (at most 1.50) times that, and 1.05 (at most 1.10) times" in words


def test_report_names_what_was_left_out_and_what_was_not_measured() -> None:
    run = run_of(COSTS)
    run.skipped["http1 nginx"] = "nginx is not installed\nand more"

    text = as_text(run, PLAIN)

    assert "- http1 nginx: nginx is not installed\n" in f"{text}\n"
    assert [line.split()[-2:] for line in text.splitlines() if "CPU per HTTP/1.1 request" in line] == [
        ["not", "measured"]
    ]


def test_report_is_silent_about_targets_of_cases_that_were_not_asked_for() -> None:
    assert "gRPC" not in as_text(run_of(COSTS), PLAIN)


def test_run_that_was_kept_reads_as_it_was(tmp_path: Path) -> None:
    run = run_of(COSTS)

    write_run(run, tmp_path / "made" / "run.json")

    assert read_run(tmp_path / "made" / "run.json") == run


def test_kept_samples_have_a_line_each_and_six_digits(tmp_path: Path) -> None:
    write_run(run_of({("", "tulle"): [10.123456789, 2.0]}), tmp_path / "run.json")

    lines = [line for line in (tmp_path / "run.json").read_text().splitlines() if '"target":"tulle"' in line]
    assert len(lines) == 2
    assert '"cpu_us":10.1235,' in lines[0].replace("}", ",")


def test_failed_requests_are_counted_by_who_failed_them() -> None:
    run = run_of(COSTS)
    add(run, {("", "tulle"): [2.0, 3.0], ("", "envoy"): [0.0]}, "grpc", "failed")

    assert run.failed == {"grpc tulle": 5}
    assert "Requests failed:\n- grpc tulle: 5" in as_text(run, PLAIN)


def test_picture_is_well_formed_and_has_a_bar_for_each_program() -> None:
    svg = ElementTree.fromstring(as_svg(run_of(COSTS)))

    groups = [group for group in svg.iter(f"{SVG}g") if group.get("class") in {"own", "peer"}]
    assert [group.get("class") for group in groups] == ["own", "peer"] * 2
    assert [text.text for text in groups[0].iter(f"{SVG}text")] == ["Tulle", "11.0"]
    assert "HTTP/1.1, heads that repeat: Tulle 11.0, Envoy, policy 44.0" in str(svg.get("aria-label"))


def test_bars_are_as_long_as_they_cost() -> None:
    svg = ElementTree.fromstring(as_svg(run_of({("heads=repeat", "tulle"): [10.0], ("heads=repeat", "envoy"): [40.0]})))

    tulle, envoy = ([float(str(r.get("width"))) for r in g.iter(f"{SVG}rect")] for g in svg.iter(f"{SVG}g"))
    assert sum(envoy) == pytest.approx(4 * sum(tulle), rel=0.01)
    assert tulle[1] == pytest.approx(3 * tulle[0], rel=0.01)


def test_run_without_costs_has_no_picture() -> None:
    with pytest.raises(ValueError, match="none of the costs"):
        as_svg(run_of({("", "tulle"): [1.0]}))
