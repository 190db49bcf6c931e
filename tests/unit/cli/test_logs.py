"""Logs of many files become one stream by time."""

from pathlib import Path

import pytest

from tulle.cli.logs import Line, Tail, chosen, is_meant, read_all, sources_in
from tulle.cli.words import Exit, Failure

STAMP = "2026-11-21T14:00:0{}.000000000Z"


def record(second: int, text: str, flag: str = "F") -> str:
    return f"{STAMP.format(second)} stdout {flag} {text}\n"


def test_files_and_their_older_parts_are_merged_by_time(tmp_path: Path) -> None:
    (tmp_path / "default_web.log.2").write_text(record(0, "first"))
    (tmp_path / "default_web.log.1").write_text(record(2, "third"))
    (tmp_path / "default_web.log").write_text(record(5, "last"))
    (tmp_path / "prod_my_odd.log").write_text(record(1, "second") + record(4, "fourth"))

    lines, offsets = read_all(tmp_path, sources_in(tmp_path))

    assert [line.text for line in lines] == ["first", "second", "third", "fourth", "last"]
    assert {line.source for line in lines} == {"default/web", "prod/my_odd"}
    assert set(offsets) == {tmp_path / "default_web.log", tmp_path / "prod_my_odd.log"}


def test_parts_of_a_long_line_are_one_line_wherever_the_file_is_cut() -> None:
    octets = (record(1, "abc", "P") + record(2, "def") + record(3, "")).encode()
    for cut in range(len(octets)):
        tail = Tail("default/web")
        found = tail.feed(octets[:cut]) + tail.feed(octets[cut:])

        assert [line.text for line in found] == ["abcdef", ""]


def test_line_that_no_one_stamped_is_kept() -> None:
    (line,) = Tail("agent").feed(b"oops\n")

    assert line == Line("", "agent", "", "oops")


@pytest.mark.parametrize(
    ("word", "source", "expected"),
    [
        ("web", "default/web", True),
        ("orders", "default/orders-v1", True),
        ("orders", "prod/orders", False),
        ("prod/orders", "prod/orders-v2", True),
        ("order", "default/orders", False),
        ("agent", "agent", True),
        ("agent", "default/agent", True),
        ("age", "agent", False),
    ],
)
def test_word_means_a_service_in_its_namespace(word: str, source: str, expected: bool) -> None:
    assert is_meant(word, source) is expected


def test_unknown_word_names_the_nearest() -> None:
    with pytest.raises(Failure) as caught:
        chosen(["default/orders", "agent"], ["ordres"], everything=False)

    assert caught.value.hint == "did you mean `default/orders`?"
    assert caught.value.exit is Exit.USAGE


def test_without_words_services_are_meant_and_our_own_on_demand() -> None:
    sources = ["agent", "default/web", "proxy"]

    assert chosen(sources, [], everything=False) == ["default/web"]
    assert chosen(sources, [], everything=True) == sources
