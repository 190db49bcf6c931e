"""Flow control end to end: a stream that nobody reads holds up its own source, and no other stream of the connections it shares."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

import pytest

from tests.support.h2_peer import Peer, get, post
from tests.support.h2_script import literal_block
from tests.support.proxy_harness import Backends, Proxy, backend_process, host, one_service
from tulle.http.h2.frames import DATA, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, WINDOW_UPDATE, frame, window_frame
from tulle.wire.snapshot import Limits, Protocol

MB = 1 << 20
OK = literal_block([(b":status", b"200")])


class Pouring:
    """An endpoint that answers each request with a megabyte, as fast as windows let it; it takes uploads of some streams only."""

    def __init__(self, takes: frozenset[int] = frozenset()) -> None:
        self.connections = 0
        self.sent: dict[int, int] = {}
        """Octets of each answer so far."""
        self.received: dict[int, int] = {}
        self._takes = takes
        """Streams whose uploads it takes; the others get no credit, and no answer."""
        self._lock = threading.Lock()

    def __call__(self, sock: socket.socket) -> None:
        self.connections += 1
        peer = Peer.endpoint(sock)
        room = 65_535
        rooms: dict[int, int] = {}
        ended: set[int] = set()
        at = 0
        while not peer.is_over:
            seen = peer.frames[at:]
            at += len(seen)
            for one in seen:
                if one.kind == HEADERS:
                    rooms[one.stream_id] = 65_535
                    self.received[one.stream_id] = 0
                    if one.flags & END_STREAM:
                        peer.send(frame(HEADERS, 0x4, one.stream_id, OK))
                        self.sent[one.stream_id] = 0
                elif one.kind == WINDOW_UPDATE:
                    size = int.from_bytes(one.payload, "big")
                    if one.stream_id:
                        rooms[one.stream_id] += size
                    else:
                        room += size
                elif one.kind == DATA:
                    size = len(one.payload)
                    self.received[one.stream_id] += size
                    if size:
                        peer.send(window_frame(0, size))
                    if one.stream_id in self._takes and size:
                        peer.send(window_frame(one.stream_id, size))
                    if one.flags & END_STREAM:
                        peer.send(frame(HEADERS, 0x5, one.stream_id, OK))
            for stream_id, sent in list(self.sent.items()):
                size = min(16_384, room, rooms[stream_id], MB - sent)
                if size > 0:
                    done = sent + size == MB
                    peer.send(frame(DATA, END_STREAM if done else 0, stream_id, bytes(size)))
                    room -= size
                    rooms[stream_id] -= size
                    self.sent[stream_id] += size
                    if done:
                        ended.add(stream_id)
                        del self.sent[stream_id]
            if not seen:
                select.select([], [], [], 0.001)


def serve(proxy: Proxy, port: int, speaks: Protocol) -> int:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(port),), limits=Limits(), speaks=speaks))
    return door


def open_windows(caller: Peer, *streams: int) -> None:
    for stream_id in streams:
        caller.send(window_frame(stream_id, MB))
    caller.send(window_frame(0, 64 * MB))


@pytest.mark.parametrize("speaks", [Protocol.HTTP, Protocol.HTTP2])
def test_an_answer_that_nobody_reads_stops_no_other_of_its_connection(
    proxy: Proxy, backends: Backends, speaks: Protocol
) -> None:
    with contextlib.ExitStack() as stack:
        pouring = Pouring()
        port = backends.serve(pouring) if speaks is Protocol.HTTP2 else stack.enter_context(backend_process("v1"))
        door = serve(proxy, port, speaks)
        before = proxy.resident_bytes()
        caller = stack.enter_context(Peer.caller(door, ((INITIAL_WINDOW_SIZE, 0),)))
        blocked = range(1, 41, 2)
        caller.send(b"".join(get(n, b"/big") for n in blocked))
        caller.wait(lambda: all(caller.has_head(n) for n in blocked), "all heads come")

        for stream_id in range(41, 61, 2):
            caller.send(get(stream_id, b"/big"))
            open_windows(caller, stream_id)
            caller.wait(lambda n=stream_id: caller.answers(n), "another answer is whole")  # type: ignore[misc]
            assert len(caller.body(stream_id)) == MB

        assert not any(caller.body(n) for n in blocked)
        assert proxy.metrics().sum("tulle_buffered_bytes") <= len(blocked) * 2 * 65_536
        assert proxy.resident_bytes() - before < 8 * MB
        if speaks is Protocol.HTTP2:
            assert pouring.connections == 1
            caller.wait(lambda: len(pouring.sent) == len(blocked), "the endpoint has done with the others")
            assert all(sent <= 65_535 for sent in pouring.sent.values())

        open_windows(caller, *blocked)
        caller.wait(lambda: all(caller.answers(n) for n in blocked), "what was blocked goes on")
        assert all(len(caller.body(n)) == MB for n in blocked)


def test_a_caller_that_reads_nothing_stops_no_other_caller_of_the_same_endpoint(
    proxy: Proxy, backends: Backends
) -> None:
    pouring = Pouring()
    door = serve(proxy, backends.serve(pouring), Protocol.HTTP2)
    with Peer.caller(door, ((INITIAL_WINDOW_SIZE, MB),), reads=False) as deaf, Peer.caller(door) as caller:
        deaf.send(window_frame(0, 64 * MB) + b"".join(get(n) for n in range(1, 61, 2)))
        proxy.until(lambda: proxy.get("/status")["requests_in_flight"] > 0, "they are served")

        for stream_id in range(1, 11, 2):
            caller.send(get(stream_id))
            open_windows(caller, stream_id)
            caller.wait(lambda n=stream_id: caller.answers(n), "an answer is whole")  # type: ignore[misc]

        assert pouring.connections == 1


def upload(caller: Peer, stream_id: int, octets: int, *, done: bool) -> None:
    """Sends so much, as the window lets it."""
    sent = 0
    while sent < octets:
        credit = sum(
            int.from_bytes(one.payload, "big")
            for one in list(caller.frames)
            if one.kind == WINDOW_UPDATE and one.stream_id == stream_id
        )
        size = min(16_384, 65_535 + credit - sent, octets - sent)
        if size > 0:
            sent += size
            caller.send(frame(DATA, END_STREAM if done and sent == octets else 0, stream_id, bytes(size)))
        else:
            select.select([], [], [], 0.001)


def test_an_upload_that_nobody_takes_stops_no_other_of_its_connection(proxy: Proxy, backends: Backends) -> None:
    pouring = Pouring(takes=frozenset((3,)))
    door = serve(proxy, backends.serve(pouring), Protocol.HTTP2)
    with Peer.caller(door) as caller:
        caller.send(post(1))
        upload(caller, 1, 90_000, done=False)
        caller.wait(lambda: pouring.received.get(1) == 65_535, "as much arrives as the endpoint lets in")

        caller.send(post(3))
        upload(caller, 3, MB, done=True)
        caller.wait(lambda: caller.answers(3), "the other upload is answered")

        assert pouring.received == {1: 65_535, 3: MB}
        assert proxy.metrics().sum("tulle_buffered_bytes") == 90_000 - 65_535
