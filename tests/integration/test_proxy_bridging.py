"""Bridging between HTTP/1.1 and HTTP/2 through a real proxy: spoilt heads reach an endpoint as exactly one request each, or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
from itertools import count

import h11
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError, StreamClosedError
from hypothesis import HealthCheck, given, settings

from tests.support.bridging import OURS, Pairs, bodies, heads, message
from tests.support.h1_reading import read_requests
from tests.support.h1_wire import mutated
from tests.support.h2_peer import Peer, get
from tests.support.h2_script import literal_block
from tests.support.proxy_harness import Backends, Client, Proxy, dial, host, one_service, read_all
from tulle.wire.snapshot import Limits, Protocol


class Judge:
    """An endpoint that reads with somebody else's parser, and counts what it reads."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, bytes, Pairs]] = []
        """Target, body and fields of each request that came."""
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def take(self) -> list[tuple[bytes, bytes, Pairs]]:
        """What came since the last call."""
        with self._lock:
            seen, self.requests = self.requests, []
        assert not self.faults
        return seen

    def h1(self, sock: socket.socket) -> None:
        """Serves HTTP/1.1 by h11."""
        connection = h11.Connection(h11.SERVER)
        try:
            while True:
                request, body = None, b""
                while True:
                    event = connection.next_event()
                    if event is h11.NEED_DATA:
                        octets = sock.recv(65536)
                        if not octets:
                            return
                        connection.receive_data(octets)
                    elif isinstance(event, h11.Request):
                        request = event
                    elif isinstance(event, h11.Data):
                        body += bytes(event.data)
                    elif isinstance(event, h11.EndOfMessage):
                        break
                    else:
                        return
                assert request is not None
                self._note(request.target, body, list(request.headers))
                answer = h11.Response(status_code=200, headers=[(b"content-length", b"2")])
                out = connection.send(answer) or b""
                if request.method != b"HEAD":
                    out += connection.send(h11.Data(data=b"ok")) or b""
                out += connection.send(h11.EndOfMessage()) or b""
                sock.sendall(out)
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            self.faults.append(repr(error))

    def h2(self, sock: socket.socket) -> None:
        """Serves HTTP/2 by PyPI's h2; answers have neither length nor body."""
        connection = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        connection.initiate_connection()
        asked: dict[int, list[tuple[bytes, bytes]]] = {}
        bodies: dict[int, bytes] = {}
        sock.sendall(connection.data_to_send())
        while octets := sock.recv(65536):
            try:
                events = connection.receive_data(octets)
            except ProtocolError as error:
                # HTTP/1.0 may name no host, and RFC 9113, 8.3.1, lets that go on.
                if ":authority or Host" not in str(error):
                    self.faults.append(repr(error))
                return
            for event in events:
                if isinstance(event, RequestReceived):
                    asked[event.stream_id] = list(event.headers)
                    bodies[event.stream_id] = b""
                elif isinstance(event, DataReceived):
                    bodies[event.stream_id] += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    fields = asked.pop(event.stream_id)
                    self._note(dict(fields)[b":path"], bodies.pop(event.stream_id), fields)
                    with contextlib.suppress(StreamClosedError):
                        connection.send_headers(event.stream_id, [(b":status", b"200")], end_stream=True)
            sock.sendall(connection.data_to_send())

    def _note(self, target: bytes, body: bytes, fields: Pairs) -> None:
        with self._lock:
            self.requests.append((target, body, [(bytes(name).lower(), bytes(value)) for name, value in fields]))


@pytest.fixture
def judge() -> Judge:
    return Judge()


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def serve(proxy: Proxy, backends: Backends, judge: Judge, speaks: Protocol) -> int:
    door = proxy.door()
    port = backends.serve(judge.h1 if speaks is Protocol.HTTP else judge.h2)
    limits = Limits(head_timeout=0.3, idle_timeout=0.6, request_timeout=0.6)
    proxy.put(one_service({door: Protocol.HTTP}, (host(port),), limits=limits, speaks=speaks))
    return door


@pytest.mark.parametrize("speaks", [Protocol.HTTP, Protocol.HTTP2])
def test_spoilt_requests_over_http2_smuggle_nothing(
    proxy: Proxy, backends: Backends, judge: Judge, speaks: Protocol
) -> None:
    door = serve(proxy, backends, judge, speaks)

    numbers = count()

    @FUZZ
    @given(
        heads.filter(lambda pairs: (b"cookie", b"") not in pairs), bodies
    )  # h2 joins them, and takes offence at the blank
    def smuggles_nothing(pairs: Pairs, body: list[bytes]) -> None:
        mark = (b"x-mark", b"%d" % next(numbers))
        with Peer.caller(door) as caller:
            caller.send(message([*pairs, mark], body, []) + get(3, b"/last", literal_block([mark])))
            caller.wait(lambda: caller.answers(3) or caller.is_over, "the last is answered, or all refused")
            seen = judge.take()
            assert all(b"x-mark" in dict(one[2]) for one in seen)
            last = [one for one in seen if one[0] == b"/last" and mark in one[2]]
            others = [one for one in seen if one[0] != b"/last" and mark in one[2]]
            assert len(last) <= 1
            assert len(others) <= 1
            if others:
                caller.wait(lambda: caller.is_over or caller.answers(1) or bool(caller.reset_code(1)), "an end")
                assert others[0][1] == b"".join(body)
                for name, value in others[0][2]:
                    assert name[:1] == b":" or name in OURS | {b"cookie"} or (name, value) in [*pairs, mark]

    smuggles_nothing()
    assert proxy.metrics().sum("tulle_defects_total") == 0


@pytest.mark.parametrize("speaks", [Protocol.HTTP, Protocol.HTTP2])
def test_spoilt_requests_over_http1_smuggle_nothing(
    proxy: Proxy, backends: Backends, judge: Judge, speaks: Protocol
) -> None:
    door = serve(proxy, backends, judge, speaks)

    @FUZZ
    @given(mutated().filter(lambda wire: not wire.startswith(b"HTTP/")))
    def smuggles_nothing(wire: bytes) -> None:
        wire += b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        read = [one.payload for one in read_requests([wire]).messages]
        with dial(door) as sock:
            sock.sendall(wire)
            read_all(sock)
        seen = judge.take()
        assert len(seen) <= len(read)
        for _, body, _ in seen:
            read.remove(body)

    smuggles_nothing()
    assert proxy.metrics().sum("tulle_defects_total") == 0


def test_an_answer_without_a_body_over_http2_leaves_the_connection_usable(
    proxy: Proxy, backends: Backends, judge: Judge
) -> None:
    door = serve(proxy, backends, judge, Protocol.HTTP2)
    with Client(door) as client:
        for _ in range(3):
            status, head, body = client.get("/a")
            assert (status, body) == (200, b"")
            assert b"content-length: 0" in head
    assert len(judge.take()) == 3


def test_a_colon_in_a_line_does_not_make_another_name(proxy: Proxy, backends: Backends, judge: Judge) -> None:
    door = serve(proxy, backends, judge, Protocol.HTTP2)
    with Client(door) as client:
        client.get("/a", "x:y: 1")
    assert (b"x", b"y: 1") in judge.take()[0][2]
