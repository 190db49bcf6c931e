"""That the documents say what the samples say which are kept beside them."""

from __future__ import annotations

from benchmarks.plot import as_svg
from benchmarks.publish import FRONT, METHOD, PICTURE, RESULTS, comparison, page, table
from benchmarks.record import Run, read_run, without_places
from tests.unit.benchmarks.runs import add, run_of

PUBLISHED = max(RESULTS.glob("*.md"))


def published() -> Run:
    return read_run(PUBLISHED.with_suffix(".json"))


def test_a_run_says_what_was_asked_and_not_where_it_is_kept() -> None:
    asked = "--cases http1 --compiled /opt/tree --rounds 3 --raw=/srv/run.json"

    assert without_places(asked) == "--cases http1 --rounds 3"
    for kept in RESULTS.glob("*.json"):
        assert "/" not in read_run(kept).command


def test_tables_of_the_run_are_those_of_its_samples() -> None:
    assert PUBLISHED.read_text() == page(published(), PUBLISHED.stem)


def test_picture_is_of_that_run() -> None:
    assert PICTURE.read_text() == as_svg(published())


def test_targets_are_judged_by_that_run_and_it_is_named() -> None:
    text = METHOD.read_text()

    assert f"### Targets\n\n{table(published())}\n\n" in text
    assert f"](results/{PUBLISHED.name})" in text
    assert f"]({PICTURE.name})" in text


def test_the_front_page_compares_by_that_run() -> None:
    assert f"(benchmarks/README.md) {comparison(published())};" in FRONT.read_text()


def test_comparison_is_of_medians_and_says_both_ends_where_they_differ() -> None:
    http1 = {("heads=repeat", "tulle"): [9.0, 9.0, 50.0], ("heads=differ", "tulle"): [11.0]}
    peers = {
        (heads, peer): [cost] * 3
        for heads in ("heads=repeat", "heads=differ")
        for peer, cost in (("haproxy", 10.0), ("envoy", 40.0))
    }
    run = run_of(http1 | peers | {(heads, "tulle-interpreted"): [22.0] for heads in ("heads=repeat", "heads=differ")})
    add(run, http1 | peers, "grpc")
    add(run, {("from=pod", "tulle"): [13.0], ("from=pod", "haproxy"): [10.0]}, "connect")

    assert comparison(run) == (
        "the compiled proxy takes 0.9 to 1.1 times HAProxy's CPU per HTTP/1.1 request and 0.23 to 0.28 times Envoy's (interpreted 0.6),"
        " per gRPC call 0.9 to 1.1 times HAProxy's and 0.23 to 0.28 times Envoy's, 1.3 times HAProxy's for a new connection from a pod"
    )
