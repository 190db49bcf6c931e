"""Answers' heads read the short way say what they say by the long one, whatever came before and on which connection."""

from itertools import product

from tests.support.h1_reading import LIMITS, told
from tests.support.proxy_harness import one_service
from tulle.core.tables import Tables, build_tables
from tulle.http.h1 import Refusal, ResponseHead, parse_response, write_response
from tulle.proxy.answer_reader import MAX_MISSES, AnswerReader, AnswersAlike
from tulle.proxy.counters import Counters
from tulle.proxy.known_heads import MAX_REMEMBERED_HEAD
from tulle.proxy.loop import Dispatcher
from tulle.proxy.relay import Relay
from tulle.wire.snapshot import Limits, Protocol

SERVER = b"Server: one whose name is long enough to make an opening of its own\r\n"
FIRST = [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 100 Continue\r\n"]
LAST = [
    b"",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\nETag: a\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"ETag: a\r\nX-Answer: 1\r\n",
    b"ETag: b\r\nX-Answer: 2\r\n",
    b"ETag: \x00\r\nX-Answer: 2\r\n",
    b"Content-Length: 3\r\nContent-Length: 3\r\n",
]
HEADS = [first + SERVER + last + b"\r\n" for first, last in product(FIRST, LAST)]


def new_relay() -> Relay:
    return Relay(Dispatcher(lambda _: None), Counters())


def check(reader: AnswerReader, method: str, head: bytes) -> None:
    found = reader.read(method, head + b"abc\r\n\r\n")
    judged = parse_response(head, method, LIMITS)
    assert found is not None
    if isinstance(judged, Refusal):
        assert isinstance(found, Refusal)
        return
    assert isinstance(found, ResponseHead)
    assert {**told(found), "wire": b""} == told(judged)
    assert found.wire in (b"", write_response(judged, 1, False))


def test_any_two_heads_that_come_in_turn_are_read_as_each_is() -> None:
    for one, other in product(HEADS, HEADS):
        relay, alike = new_relay(), AnswersAlike()
        readers = [AnswerReader(relay, alike) for _ in range(2)]
        for method in ("GET", "GET", "HEAD", "POST", "GET"):
            for reader in readers:
                check(reader, method, one)
                check(reader, method, other)


def test_a_head_in_two_reads_is_awaited() -> None:
    relay, alike = new_relay(), AnswersAlike()
    reader = AnswerReader(relay, alike)
    for head in [*HEADS, *HEADS]:
        for cut in (1, 2, 3, len(head) - 20):
            assert reader.read("GET", head[:-cut]) is None
        check(reader, "GET", head)


def test_connections_learn_from_each_other_whatever_the_second() -> None:
    """The first head of a second is read the long way, and one more: two of them say what the others begin with."""
    relay, alike = new_relay(), AnswersAlike()
    readers = [AnswerReader(relay, alike) for _ in range(3)]
    number = long = 0
    for second in range(2 * MAX_MISSES):
        for reader in readers * 6:
            number += 1
            lines = SERVER + b"Date: %06d\r\nContent-Length: 3\r\n" % second
            head = b"HTTP/1.1 200 OK\r\n%bETag: %d\r\n\r\n" % (lines, number)
            before = alike.stray
            check(reader, "GET", head)
            long += alike.stray != before
    assert long <= 2 * 2 * MAX_MISSES
    assert alike.opening is not None
    assert b"Date: %06d" % (2 * MAX_MISSES - 1) in alike.opening.octets


def test_answers_that_come_to_begin_otherwise_are_learnt_anew() -> None:
    relay, alike = new_relay(), AnswersAlike()
    reader = AnswerReader(relay, alike)
    for lines in (SERVER + b"Vary: Accept\r\n" * 9, SERVER):
        for number in range(8):
            check(reader, "GET", b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (lines, number))
        assert alike.opening is not None
        assert alike.opening.octets == b"HTTP/1.1 200 OK\r\n" + lines


def test_learning_ends_where_it_never_helps() -> None:
    """A length that is new in every answer, behind what they begin with."""
    relay, alike = new_relay(), AnswersAlike()
    reader = AnswerReader(relay, alike)
    strays = set()
    for number in range(4 * MAX_MISSES):
        check(reader, "GET", b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\nETag: a\r\n\r\n" % (SERVER, number))
        strays.add(alike.stray)
    assert len(strays) <= MAX_MISSES


def test_a_head_that_came_before_is_judged_by_the_limits_in_force() -> None:
    relay, alike = new_relay(), AnswersAlike()
    relay.adopt(tables_with(Limits()))
    readers = [AnswerReader(relay, alike) for _ in range(2)]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: a\r\nVary: Accept\r\n\r\n"
    for reader in readers * 3:
        assert isinstance(reader.read("GET", head), ResponseHead)
    relay.adopt(tables_with(Limits(header_count=2)))
    for reader in readers:
        assert isinstance(reader.read("GET", head), Refusal)


def tables_with(limits: Limits) -> Tables:
    return build_tables(one_service({8080: Protocol.HTTP}, (), limits=limits))


def test_long_heads_are_not_kept_to_compare() -> None:
    relay, alike = new_relay(), AnswersAlike()
    long = b"HTTP/1.1 200 OK\r\nSet-Cookie: " + b"c" * MAX_REMEMBERED_HEAD + b"\r\n\r\n"
    check(AnswerReader(relay, alike), "GET", long)
    assert alike.stray == b""
    assert not relay.heads.answers


def test_answers_that_only_differ_in_plain_fields_share_what_they_have_in_common() -> None:
    relay, alike = new_relay(), AnswersAlike()
    reader = AnswerReader(relay, alike)
    heads = [b"HTTP/1.1 200 OK\r\n%bContent-Length: 3\r\nETag: %d\r\n\r\n" % (SERVER, number) for number in range(40)]
    for head in heads[:MAX_MISSES]:
        assert reader.read_alike(head + b"abc")[0] is None
        check(reader, "GET", head)
    found = [reader.read_alike(head + b"abc") for head in heads]

    common = found[0][0]
    assert common is not None
    assert all(one is common for one, _, _ in found)
    assert (common.status, common.content_length, common.value(b"etag")) == (200, 3, None)
    judged = parse_response(heads[-1], "GET", LIMITS)
    assert isinstance(judged, ResponseHead)
    assert found[-1][1:] == (write_response(judged, 1, False), len(heads[-1]))
    assert reader.read_alike(heads[0].replace(b"ETag", b"Connection"))[0] is None
    assert reader.read_alike(heads[0][:-1])[0] is None
