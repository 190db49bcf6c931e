"""The first octets tell HTTP/1.1 from everything else, wherever they are cut."""

import os
import socket

import pytest

from tests.support.relay_bench import DOOR, Bench, broken_dial
from tulle.proxy.detect import HTTP, HTTP2, OPAQUE, UNDECIDED, Detector, guess_protocol
from tulle.proxy.lane import Arrival
from tulle.wire.snapshot import Protocol


@pytest.mark.parametrize(
    ("octets", "guess"),
    [
        (b"GET / HTTP/1.1\r\n", HTTP),
        (b"OPTIONS * HTTP/1.1\r\n", HTTP),
        (b"GET http://a/ HTTP/1.1\r\n", HTTP),
        (b"CONNECT a:1 HTTP/1.1\r\n", HTTP),
        (b"PURGE / HTTP/1.1\r\n", HTTP),
        (b"M-SEARCH / HTTP/1.0\n", HTTP),
        (b"PURGE / HT", UNDECIDED),
        (b"GE", UNDECIDED),
        (b"GET", UNDECIDED),
        (b"GET ", UNDECIDED),
        (b"GET key\r\n", OPAQUE),
        (b"PING\r\n", OPAQUE),
        (b"get / HTTP/1.1\r\n", OPAQUE),
        (b"\x16\x03\x01", OPAQUE),
        (b"\x00", OPAQUE),
        (b"\r\nGET / HTTP/1.1\r\n", OPAQUE),
        (b"PRI * HTTP/2.0\r\n", UNDECIDED),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", HTTP2),
        (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", OPAQUE),
        (b"PRI ", UNDECIDED),
        (b"A" * 30, OPAQUE),
        (b"FOO " + b"x" * 3000, OPAQUE),
    ],
)
def test_guess(octets: bytes, guess: int) -> None:
    assert guess_protocol(octets) == guess


@pytest.mark.parametrize("line", [b"GET /a HTTP/1.1\r\n", b"PROPFIND /a HTTP/1.1\r\n", b"DELETE /a HTTP/1.1\r\n"])
def test_a_request_line_is_never_taken_for_opaque_before_it_is_whole(line: bytes) -> None:
    for end in range(1, len(line)):
        assert guess_protocol(line[:end]) != OPAQUE
    assert guess_protocol(line) == HTTP


def test_a_connection_that_the_kernel_does_not_watch_is_closed_and_counted_no_more() -> None:
    bench = Bench(Protocol.HTTP, broken_dial)
    arrival = Arrival("", "", DOOR)
    ours, theirs = socket.socketpair()
    with theirs, open(os.devnull, "rb") as file:  # noqa: PTH123  (a descriptor is all that is wanted)
        os.dup2(file.fileno(), ours.fileno())  # which epoll refuses
        connection = bench.register.add(arrival, bench.dispatcher.now)
        with pytest.raises(PermissionError):
            Detector(bench.relay, connection, bench.relay.lane(arrival), broken_dial).start(ours)
    bench.dispatcher.turn([])
    assert not bench.register.connections
    assert ours.fileno() == -1
