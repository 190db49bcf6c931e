import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hand_loop import HandLoop
from tulle.supervisor.flow import Flow
from tulle.supervisor.journal import LogFile, Output, split_lines

PART = 16 << 10


def test_whole_lines_are_told_from_what_is_not_yet_complete() -> None:
    assert split_lines(b"one\n\ntwo", at_end=False) == ([(b"one", True), (b"", True)], b"two")


def test_the_end_stores_what_was_never_completed() -> None:
    assert split_lines(b"two", at_end=True) == ([(b"two", False)], b"")


def test_a_long_line_is_stored_in_parts_before_it_ends() -> None:
    lines, rest = split_lines(b"x" * (PART + 5), at_end=False)

    assert lines == [(b"x" * PART, False)]
    assert rest == b"xxxxx"


@given(st.lists(st.sampled_from([b"a", b"\n", b"bc\n", b"x" * PART, b"y" * (PART - 1)]), max_size=8))
def test_nothing_is_lost_however_the_output_is_cut(pieces: list[bytes]) -> None:
    stored: list[tuple[bytes, bool]] = []
    rest = b""
    for piece in pieces:
        lines, rest = split_lines(rest + piece, at_end=False)
        stored += lines
    stored += split_lines(rest, at_end=True)[0]

    assert b"".join(text + (b"\n" if whole else b"") for text, whole in stored) == b"".join(pieces)
    assert all(len(text) <= PART for text, _ in stored)


def test_a_full_log_makes_room_and_keeps_its_last_files(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "x.log"), limit_bytes=200, kept_files=3)

    for number in range(20):
        log.append("stdout", [(b"line %d" % number, True)])

    kept = sorted(one.name for one in tmp_path.iterdir())
    assert kept == ["x.log", "x.log.1", "x.log.2"]
    assert (tmp_path / "x.log").read_text().endswith("line 19\n")
    assert all(one.stat().st_size <= 200 for one in tmp_path.iterdir())
    log.close()


def test_lines_that_could_not_be_written_are_counted_where_writing_works_again(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "later" / "x.log"))
    log.append("stdout", [(b"lost", True)])
    (tmp_path / "later").mkdir()

    log.append("stdout", [(b"kept", True)])

    text = (tmp_path / "later" / "x.log").read_text().splitlines()
    assert [line.split(" ", 3)[3] for line in text] == ["[tulle lost 1 lines: could not write]", "kept"]
    log.close()


FLOW = Flow(per_second=1000.0, burst=100_000.0)


@pytest.fixture
def loop() -> HandLoop:
    return HandLoop()


@pytest.fixture
def output(loop: HandLoop, tmp_path: Path) -> Iterator[Output]:
    one = Output(loop, LogFile(str(tmp_path / "x.log")), FLOW)
    for descriptor in (one.stdout, one.stderr):
        os.set_blocking(descriptor, False)
    yield one
    one.handed_over()
    one.finish()


def flood(descriptor: int) -> int:
    """Writes until it would have to wait; how much that was."""
    written = 0
    try:
        while True:
            written += os.write(descriptor, b"\n" * 4096)
    except BlockingIOError:
        return written


def test_who_floods_its_log_waits_in_proportion(loop: HandLoop, output: Output, tmp_path: Path) -> None:
    flood(output.stdout)
    loop.events()
    stored = (tmp_path / "x.log").stat().st_size

    assert loop.readers == {}
    flood(output.stdout)
    loop.events()
    assert (tmp_path / "x.log").stat().st_size == stored > FLOW.burst
    assert loop.timers[0].due * FLOW.per_second == pytest.approx(stored - FLOW.burst, abs=5000)

    loop.pass_to(loop.timers[0])
    assert len(loop.readers) == 2


def test_a_flood_of_single_octets_costs_by_the_read(loop: HandLoop, output: Output) -> None:
    written = 0
    while not loop.timers and written < 1000:
        written += os.write(output.stderr, b".")
        loop.events()

    assert 50 < written < 200


def test_output_that_never_ends_is_let_go_with_its_process(loop: HandLoop, output: Output, tmp_path: Path) -> None:
    os.write(output.stdout, b"whole\nlast words")

    output.finish()  # this test still holds the writing ends

    assert loop.readers == {}
    with pytest.raises(BrokenPipeError):
        os.write(output.stdout, b"more")
    said = [line.split(" ", 3)[2:] for line in (tmp_path / "x.log").read_text().splitlines()]
    assert said == [["F", "whole"], ["P", "last words"]]
