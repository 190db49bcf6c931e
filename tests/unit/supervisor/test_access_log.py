"""The supervisor's end of the access log: whole lines, as they came, in files that do not grow for ever."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hand_loop import HandLoop
from tulle.supervisor.access_log import AccessLog
from tulle.supervisor.flow import Flow
from tulle.supervisor.journal import LogFile

NEVER = Flow(1 << 30, 1 << 30)


@pytest.fixture
def loop() -> HandLoop:
    return HandLoop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def log(loop: HandLoop, path: Path) -> Iterator[AccessLog]:
    made = AccessLog(loop, LogFile(str(path)), NEVER)
    yield made
    made.finish()


def test_lines_are_stored_as_they_came_wherever_the_pipe_cut_them(loop: HandLoop, log: AccessLog, path: Path) -> None:
    os.write(log.descriptor, b'{"a":1}\n{"b"')
    loop.events()
    assert path.read_bytes() == b'{"a":1}\n'

    os.write(log.descriptor, b":2}\n")
    loop.events()

    assert path.read_bytes() == b'{"a":1}\n{"b":2}\n'


def test_the_end_stores_what_is_in_the_pipe(loop: HandLoop, path: Path) -> None:
    log = AccessLog(loop, LogFile(str(path)), NEVER)
    os.write(log.descriptor, b"{}\n" * 1_000)

    log.finish()

    assert path.read_bytes() == b"{}\n" * 1_000


def test_files_are_bounded_by_what_is_wanted_last(loop: HandLoop, log: AccessLog, path: Path) -> None:
    line = b"x" * 99 + b"\n"
    log.want(1_000, 3)
    for _ in range(200):
        os.write(log.descriptor, line)
        loop.events()
    kept = sorted(path.parent.iterdir())
    assert [one.name for one in kept] == ["access.log", "access.log.1", "access.log.2"]
    assert all(one.stat().st_size <= 1_000 for one in kept)

    log.want(1_000, 1)
    for _ in range(200):
        os.write(log.descriptor, line)
        loop.events()

    assert [one.name for one in path.parent.iterdir()] == ["access.log"]
    assert path.stat().st_size <= 1_000


def test_with_no_files_nothing_is_kept(loop: HandLoop, log: AccessLog, path: Path) -> None:
    os.write(log.descriptor, b"{}\n")
    loop.events()
    log.want(1_000, 0)
    os.write(log.descriptor, b"{}\n")
    loop.events()

    assert list(path.parent.iterdir()) == []


def test_a_flood_is_stored_at_its_rate_and_the_pipe_fills_meanwhile(loop: HandLoop, path: Path) -> None:
    log = AccessLog(loop, LogFile(str(path)), Flow(1_000, 10_000))
    line = b"x" * 999 + b"\n"
    for _ in range(20):
        os.write(log.descriptor, line)
        loop.events()

    stored = path.stat().st_size
    assert stored < 20_000
    assert loop.readers == {}

    loop.pass_to(loop.timers[-1])
    loop.events()

    assert path.stat().st_size > stored
    log.finish()


def test_what_no_line_ends_is_dropped(loop: HandLoop, log: AccessLog, path: Path) -> None:
    for _ in range(8):
        os.write(log.descriptor, b"x" * 32_768)
        loop.events()
    os.write(log.descriptor, b"\n{}\n")
    loop.events()

    assert path.read_bytes().endswith(b"\n{}\n")
    assert path.stat().st_size < 70_000


def test_lines_that_could_not_be_stored_are_counted_in_a_line_of_json(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "later" / "access.log"))
    log.append_records(b"{}\n{}\n")
    (tmp_path / "later").mkdir()

    log.append_records(b"{}\n")

    first, second = map(json.loads, (tmp_path / "later" / "access.log").read_text().splitlines())
    assert first.pop("time").endswith("Z")
    assert (first, second) == ({"lost": 2}, {})
    log.close()
