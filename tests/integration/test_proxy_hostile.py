"""Callers and endpoints that stop, leave or break off at any point: each request counted once, nothing left behind."""

import contextlib
import itertools
import random
import select
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bulk import pipes
from tests.support.proxy_harness import (
    DEADLINE,
    Backends,
    Client,
    Proxy,
    dial,
    host,
    ok,
    one_service,
    only,
    read_all,
    read_head,
    stopped,
    until,
)
from tests.support.tapping import tapping
from tulle.proxy.pipes import MAX_IDLE
from tulle.wire.snapshot import Limits, Protocol

HEAD = b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n"
BODY = b"0123456789"
CHUNKED = b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"

SENT = {
    "nothing": b"",
    "half a head": HEAD[:30],
    "no body": HEAD,
    "half a body": HEAD + BODY[:5],
    "a whole request": HEAD + BODY,
    "half a chunk": CHUNKED + b"a\r\n01234",
    "no trailers": CHUNKED + b"a\r\n0123456789\r\n0\r\nx: 1\r\n",
    "two, and half of the next": HEAD + BODY + HEAD + BODY + HEAD[:30],
}


def leave(sock: socket.socket, how: str) -> None:
    """Ends our half, or all of it, in order or not."""
    if how == "shut":
        sock.shutdown(socket.SHUT_WR)
        return
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def descriptors(proxy: Proxy) -> int:
    return sum(1 for _ in Path(f"/proc/{proxy.process.pid}/fd").iterdir())


def nothing_is_left(proxy: Proxy, before: int) -> None:
    """No exchange, no connection, no descriptor but those kept to endpoints; no defect."""

    def holds() -> bool:
        status = proxy.get("/status")
        return not (
            status["requests_in_flight"] or status["connections"] or any(e["in_flight"] for e in status["endpoints"])
        )

    until(holds, "everything has ended")
    until(
        lambda: (
            descriptors(proxy) - 2 * len(pipes(proxy))
            <= before + proxy.metrics().sum("tulle_upstream_connections_open")
        ),
        "every descriptor is closed, or kept to an endpoint, or one of a pipe's for bulk",
    )
    assert len(pipes(proxy)) <= MAX_IDLE
    metrics = proxy.metrics()
    assert metrics.sum("tulle_connections_open") == 0
    assert metrics.sum("tulle_defects_total") == 0
    assert metrics.sum("tulle_request_duration_seconds_count") == metrics.sum("tulle_requests_total")


@pytest.mark.parametrize("how", ["shut", "reset", "close"])
def test_a_caller_may_leave_at_any_point(proxy: Proxy, backends: Backends, how: str) -> None:
    holds = threading.Event()

    def hold(sock: socket.socket) -> None:
        read_head(sock)
        holds.wait(DEADLINE)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(hold)),)))
    before = 0
    for sent in ("nothing", *SENT):  # the first round opens what stays open
        counted = proxy.metrics().sum("tulle_requests_total", response_class="aborted")
        with dial(door) as sock:
            sock.sendall(SENT[sent])
            until(lambda: bool(proxy.get("/status")["connections"] == 1), "it is accepted")
            if sent not in ("nothing", "half a head"):
                until(lambda: bool(proxy.get("/status")["requests_in_flight"] == 1), "it is served")
            leave(sock, how)
            until(lambda: bool(proxy.get("/status")["connections"] == 0), "it has gone")
        expected = 0 if sent == "nothing" else 1
        assert proxy.metrics().sum("tulle_requests_total", response_class="aborted") == counted + expected, sent
        before = before or descriptors(proxy)
        nothing_is_left(proxy, before)
    holds.set()


INTERIM = b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n"
ANSWERS = {
    "nothing": (b"", 502),
    "half a head": (b"HTTP/1.1 200 OK\r\nx: y\r\n", 502),
    "an interim answer": (INTERIM, 502),
    "half a body": (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234", 0),
    "half a chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n01234", 0),
    "no last chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n", 0),
    "no end of trailers": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: 1\r\n", 0),
    "a whole answer": (ok(BODY), 200),
    "a whole answer and more": (ok(BODY) + ok(b"smuggled"), 200),
    "an early refusal": (b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno", 413),
}


@pytest.mark.parametrize("reads", ["all", "the head", "nothing"])
@pytest.mark.parametrize("how", ["shut", "reset", "close"])
def test_an_endpoint_may_leave_at_any_point(proxy: Proxy, backends: Backends, how: str, reads: str) -> None:
    """Whether it has read the request, or leaves octets unread, which makes its close a reset."""
    script = b""

    def serve(sock: socket.socket) -> None:
        if reads == "all":
            rest = read_head(sock)[1]
            while len(rest) < 100_000 and (more := sock.recv(65536)):
                rest += more
        elif reads == "the head":
            sock.recv(len(head) + 40)
        sock.sendall(script)
        if how == "shut":
            leave(sock, how)
            with contextlib.suppress(ConnectionError):
                read_all(sock)
        else:
            leave(sock, how)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(serve)),)))
    before = descriptors(proxy)
    head = b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n"
    for number, (name, (answer, status)) in enumerate(ANSWERS.items(), 1):
        script = answer
        with Client(door) as client:
            with contextlib.suppress(ConnectionError):
                client.send(head + bytes(100_000))
            got = b""
            with contextlib.suppress(ConnectionError):
                got = read_to_end(client.sock)
            final = got.removeprefix(INTERIM)
            allowed = (status, 502, 503) if how == "reset" or reads != "all" else (status,)  # 503: reset at accept
            if status:
                assert int(final[9:12]) in allowed, (name, got)
            assert b"smuggled" not in got
        until(lambda n=number: proxy.metrics().sum("tulle_requests_total") == n, f"{name} is counted once")  # type: ignore[misc]
        nothing_is_left(proxy, before)


def read_to_end(sock: socket.socket) -> bytes:
    """Until the proxy closes; of a connection that it keeps, until the answer announced is there."""
    got = b""
    while piece := sock.recv(65536):
        got += piece
        head, ended, body = got.removeprefix(INTERIM).partition(b"\r\n\r\n")
        if ended and b"connection: close" not in head and b"content-length: " in head:
            announced = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
            if len(body) >= announced:
                break
    return got


def random_request(dice: random.Random) -> bytes:
    path = dice.choice([b"/", b"/a?b", b"/a;x/b", b"/%2e%2e/x", b"/" + b"p" * dice.randrange(300)])
    match dice.randrange(8):
        case 0:
            return b"HEAD %b HTTP/1.1\r\nhost: a\r\n\r\n" % path
        case 1:
            return HEAD + BODY
        case 2:
            return CHUNKED + b"5;x=y\r\n01234\r\n" * dice.randrange(1, 50) + b"0\r\nx: 1\r\n\r\n"
        case 3:
            size = dice.randrange(200_000)
            return b"PUT %b HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (path, size) + bytes(size)
        case 4:
            return HEAD[:-2] + b"expect: 100-continue\r\n\r\n" + BODY
        case 5:
            return b"GET %b HTTP/1.%d\r\nhost: a\r\nconnection: %b\r\n\r\n" % (
                path,
                dice.randrange(2),
                dice.choice([b"close", b"keep-alive"]),
            )
        case 6:
            return b"GET %b HTTP/1.1\r\nhost: a\r\nx: %b\r\n\r\n" % (path, b"y" * dice.randrange(20_000))
        case _:
            return b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path


def random_answer(dice: random.Random) -> bytes:
    match dice.randrange(10):
        case 0:
            return b"HTTP/1.1 100 Continue\r\n\r\n" * dice.randrange(1, 20) + ok(BODY)
        case 1:
            return b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n"
        case 2:
            return b"HTTP/1.1 204 No Content\r\n\r\n" + dice.choice([b"", b"body"])
        case 3:
            return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"3\r\nabc\r\n" * 9 + b"0\r\nx: 1\r\n\r\n"
        case 4:
            return b"HTTP/1.0 200 OK\r\n\r\n" + bytes(dice.randrange(300_000))
        case 5:
            return b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"
        case 6:
            return b"HTTP/1.1 200 OK\r\nx: %b\r\ncontent-length: 0\r\n\r\n" % (b"y" * dice.randrange(40_000))
        case 7:
            return b"nonsense\r\n\r\n"
        case 8:
            size = dice.randrange(500_000)
            return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)
        case _:
            return ok(BODY)


def cut(octets: bytes, dice: random.Random) -> bytes:
    return octets if dice.randrange(3) else octets[: dice.randrange(len(octets))]


def play(dice: random.Random, sock: socket.socket, make: Callable[[random.Random], bytes], first_reads: bool) -> None:
    """One side: sends what it likes in pieces, reads what it likes, leaves as it likes."""
    sock.settimeout(0.2)
    with contextlib.suppress(OSError):
        for _ in range(dice.randrange(1, 5)):
            if first_reads:
                sock.recv(dice.choice([1, 100, 65536]))
            octets = cut(make(dice), dice)
            for start in range(0, len(octets), step := dice.choice([50_000, 7_000, 1 << 20])):
                sock.sendall(octets[start : start + step])
            if dice.randrange(2):
                sock.recv(dice.choice([1, 100, 65536]))
        if dice.randrange(3):
            while sock.recv(65536):
                pass
    with contextlib.suppress(OSError):
        leave(sock, dice.choice(["shut", "reset", "close"]))
        sock.recv(65536)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_left_of_callers_and_endpoints_that_do_as_they_like(
    proxy: Proxy, backends: Backends, seed: int
) -> None:
    numbers = itertools.count()

    def serve(sock: socket.socket) -> None:
        play(random.Random(f"{seed} endpoint {next(numbers)}"), sock, random_answer, True)

    def call(number: int) -> None:
        with dial(door) as sock:
            play(random.Random(f"{seed} caller {number}"), sock, random_request, False)

    door = proxy.door()
    limits = Limits(
        head_timeout=1,
        idle_timeout=1,
        request_timeout=1,
        pool_idle_timeout=1,
        requests_in_flight=20,
        buffered_bytes=65536,
    )
    endpoints = tuple(host(backends.serve(serve), f"default/{name}") for name in "abc")
    proxy.put(one_service({door: Protocol.HTTP}, endpoints, limits=limits))
    before = descriptors(proxy)
    for start in range(0, 240, 24):
        callers = [threading.Thread(target=call, args=(number,)) for number in range(start, start + 24)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    nothing_is_left(proxy, before)
    assert proxy.metrics().sum("tulle_requests_total") >= 120
    with dial(door) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert sock.recv(1) == b"H"


def put(path: bytes) -> bytes:
    return b"PUT %b HTTP/1.1\r\nhost: a\r\n\r\n" % path


def test_a_caller_that_pipelines_refusals_lets_others_be_served(proxy: Proxy) -> None:
    """Two callers, all in the kernel before the proxy looks: who sent one request is answered before the last of thousands."""
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (), policies=(only("POST"),)))
    with dial(door) as greedy, dial(door) as modest, tapping(proxy, "?method=PUT") as tap:
        until(lambda: bool(proxy.get("/status")["connections"] == 2), "both are accepted")
        asked = 0
        with Client(door) as client:
            while not select.select([tap.sock], [], [], 0.01)[0]:  # what ends before the tap is open is not told
                asked += 1
                client.send(put(b"/first"))
                assert client.read()[0] == 403
        with stopped(proxy):
            greedy.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 2000 + put(b"/greedy"))
            modest.sendall(put(b"/modest"))
        got = b""
        while got.count(b"HTTP/1.1 403") < 2001:
            octets = greedy.recv(65536)
            assert octets, "closed before all is answered"
            got += octets
        while b"/modest" not in tap.read or b"/greedy" not in tap.read:
            tap.more()
    assert tap.read.index(b"/modest") < tap.read.index(b"/greedy")
    assert proxy.metrics().sum("tulle_requests_total", response_class="4xx") == 2002 + asked
