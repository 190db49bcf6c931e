"""How inputs of the fuzzer are made and counted."""

from pathlib import Path

import h11
import pytest

from tests.support.framing import REQUESTS
from tests.support.relay_laws import check_answers, check_requests, whole
from tests.support.relayed import House, Run
from tools.fuzz import MAX_OCTETS, seed, taken_apart, tries


def test_inputs_begin_with_where_they_are_cut() -> None:
    assert taken_apart(b"\x01\x10GET / HTTP/1.1") == (b"GET / HTTP/1.1", [5, 80])
    assert taken_apart(b"") == (b"", [])


def test_the_corpus_is_the_table(tmp_path: Path) -> None:
    seed(tmp_path, (row.wire for row in REQUESTS))

    wires = {taken_apart(path.read_bytes())[0] for path in tmp_path.iterdir()}
    assert wires == {row.wire for row in REQUESTS if len(row.wire) < MAX_OCTETS}


def test_how_many_were_tried_is_what_libfuzzer_says() -> None:
    assert tries("#763\tDONE cov: 1\nDone 763 runs in 21 second(s)\n") == 763
    assert tries("==1775== ERROR: libFuzzer: fuzz target exited") == 0


def test_laws_hold_of_nothing_and_count_what_goes_on() -> None:
    request = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"

    assert check_requests(b"", []) == 0
    assert check_requests(request + request, [20]) == 2
    assert check_requests(request + b"GET", [20]) == 1


def test_octets_behind_an_answer_do_not_go_on_and_would_be_seen() -> None:
    with House((b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",), ends=True) as house:
        run = house.run([b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"])

    assert whole(run.came, b"GET") is not None
    with pytest.raises((AssertionError, h11.RemoteProtocolError)):
        whole(run.came + b"b", b"GET")


def test_answers_cut_short_are_none() -> None:
    assert check_answers(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", b"GET", [18])
    assert not check_answers(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", b"GET", [40])
    assert Run().statuses == []
