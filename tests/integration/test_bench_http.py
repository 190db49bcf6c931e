"""The bench's HTTP/1.1 ends: requests count that were answered whole, and latency counts from when a request was due."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.backend import Backend
from benchmarks.case import Values
from benchmarks.cases.bodies import transfers
from benchmarks.cases.fixed import head
from benchmarks.ends import driven
from benchmarks.programs import compile_program
from tests.support.programs import needs
from tests.support.proxy_harness import Backends, Hold, dial, ok, read_all, read_head, requests

pytestmark = needs("cc")
BODY = b"shipped to Rotterdam"
UNDISTURBED = 0.1
"""Seconds of load at a rate: what fell due is waited for afterwards."""
AS_ANSWERED = 1.0
"""Seconds of load without one."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program("http_load", tmp_path_factory.mktemp("http_load"))


@pytest.fixture
def load(program: Path, tmp_path: Path) -> Callable[..., Values]:
    """Runs the load: port, connections, rate (0: as it is answered), and the request's head if it is to be another."""
    path = tmp_path / "head"

    def run(
        port: int, connections: int, rate: float, head: bytes = b"GET /1 HTTP/1.1\r\nHost: orders\r\n\r\n"
    ) -> Values:
        path.write_bytes(head)
        return driven(program, port, UNDISTURBED if rate else AS_ANSWERED, connections, rate, path, 7, len(BODY))

    return run


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    with ExitStack() as started:
        yield transfers(started, tmp_path).backend


def answering(said: bytes) -> Callable[[socket.socket], None]:
    """Answers each request so."""

    def serve(sock: socket.socket) -> None:
        for _ in requests(sock):
            sock.sendall(said)

    return serve


def test_every_request_that_fell_due_is_counted(backends: Backends, load: Callable[..., Values]) -> None:
    counted = load(backends.serve(answering(ok(BODY))), 4, 500)

    assert (counted["requests"], counted["failed"]) == (500 * UNDISTURBED, 0)
    assert counted["down"] == 500 * UNDISTURBED * len(BODY)


def test_load_without_a_rate_sends_as_it_is_answered(backends: Backends, load: Callable[..., Values]) -> None:
    counted = load(backends.serve(answering(ok(BODY))), 4, 0)

    assert counted["requests"] > 4
    assert counted["failed"] == 0


@pytest.mark.parametrize(
    "said",
    [
        ok(BODY[:-1]),
        ok(BODY + b"!"),
        ok(BODY) + b"!",
        ok(BODY).replace(b"200 OK", b"503 Service Unavailable"),
        ok(BODY).replace(b"content-length: 20", b"transfer-encoding: chunked"),
        ok(BODY).replace(b"content-length: 20", b"content-length: 20\r\ncontent-length: 20"),
        b"\r\n\r\n",
    ],
)
def test_other_answers_failed(backends: Backends, load: Callable[..., Values], said: bytes) -> None:
    counted = load(backends.serve(answering(said)), 2, 200)

    assert counted["failed"] >= 200 * UNDISTURBED - 2
    assert counted["requests"] <= 2


def test_answer_that_ends_early_failed(backends: Backends, load: Callable[..., Values]) -> None:
    def cut(sock: socket.socket) -> None:
        if read_head(sock)[0]:
            sock.sendall(ok(BODY)[:-1])

    counted = load(backends.serve(cut), 2, 200)

    assert (counted["requests"], counted["failed"]) == (0, 200 * UNDISTURBED)


def test_octets_that_nobody_asked_for_failed(backends: Backends, load: Callable[..., Values]) -> None:
    def say_more(sock: socket.socket) -> None:
        for _ in requests(sock):
            sock.sendall(ok(BODY))
            select.select([sock], [], [], 0.02)  # between two requests, where the load is as quick as it says
            sock.sendall(b"!")

    assert load(backends.serve(say_more), 1, 20)["failed"] > 0


def test_requests_that_waited_for_a_stalled_answer_are_late(backends: Backends, load: Callable[..., Values]) -> None:
    hold = Hold(BODY)

    def stall(sock: socket.socket) -> None:
        sock.recv(1, socket.MSG_PEEK)
        threading.Timer(3 * UNDISTURBED, hold.let_go).start()
        hold(sock)

    counted = load(backends.serve(stall), 1, 500)

    assert (counted["requests"], counted["failed"]) == (500 * UNDISTURBED, 0)
    assert counted["p50_us"] > 1e6 * UNDISTURBED, "counted from when each was sent, all but one would be quick"


def test_requests_that_nobody_answers_failed(backends: Backends, load: Callable[..., Values]) -> None:
    hold = Hold(BODY)

    counted = load(backends.serve(hold), 1, 500)
    hold.let_go()

    assert (counted["requests"], counted["failed"]) == (0, 500 * UNDISTURBED)


def test_heads_that_differ_are_new_in_every_request(backends: Backends, load: Callable[..., Values]) -> None:
    heads: list[bytes] = []

    def note(sock: socket.socket) -> None:
        for seen, _ in requests(sock):
            heads.append(seen)
            sock.sendall(ok(BODY))

    counted = load(backends.serve(note), 1, 500, head("differ"))

    assert counted["requests"] == len(heads) == len(set(heads))
    assert len({seen.split(b"\r\n", 1)[0] for seen in heads}) == len(heads), "the target differs"
    assert {len(seen) for seen in heads} == {len(head("differ"))}


def test_service_sends_what_was_asked_for(backend: Backend) -> None:
    with dial(backend.ports[1]) as sock:
        sock.sendall(b"GET /orders/3000000 HTTP/1.1\r\nHost: orders\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        answer, _, body = read_all(sock).partition(b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 3000000" in answer
    assert len(body) == 3000000


def test_both_ends_count_an_upload(backend: Backend, program: Path, tmp_path: Path) -> None:
    (tmp_path / "head").write_bytes(b"POST /orders/1 HTTP/1.1\r\nHost: orders\r\nContent-Length: 3000000\r\n\r\n")

    counted = driven(program, backend.ports[0], UNDISTURBED, 2, 50, tmp_path / "head", 0, 20, 3000000)

    assert (counted["requests"], counted["failed"]) == (5, 0)
    assert counted["up"] == 5 * 3000000

    with dial(backend.ports[0]) as sock:
        sock.sendall(b"POST /orders/1 HTTP/1.1\r\nHost: orders\r\nContent-Length: 5\r\n\r\nhe")
        sock.sendall(b"llo")
        assert sock.recv(1000).endswith(b"\r\n\r\n00000000000000000005")
