"""The bench's WebSocket ends: messages count whose very octets came back."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.protocol import Side
from websockets.sync.server import ServerConnection

from benchmarks.backend import Backend
from benchmarks.cases.websocket import messages
from benchmarks.ends import driven
from benchmarks.programs import compile_program
from tests.support.programs import needs
from tests.support.proxy_harness import DEADLINE, Backends, dial, read_head
from tests.support.ws_ends import converse, over, over_client, websocket_server

pytestmark = needs("cc")
SECONDS = 0.5
"""Of load: enough for one answer however the box is busy."""
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ASKED = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program("websocket", tmp_path_factory.mktemp("websocket"))


@pytest.fixture
def backend(tmp_path: Path, program: Path) -> Iterator[Backend]:
    with ExitStack() as started:
        yield messages(started, tmp_path, program).backend


def test_echoed_messages_are_counted(backend: Backend, program: Path) -> None:
    counted = driven(program, "load", backend.ports[1], SECONDS, 4)

    assert counted["requests"] > 4
    assert counted["failed"] == 0


def test_load_speaks_with_another_service(program: Path) -> None:
    lengths: set[int] = set()

    def note(talk: ServerConnection) -> None:
        for message in talk:
            lengths.add(len(message))
            talk.send(message)

    with websocket_server(note) as port:
        counted = driven(program, "load", port, SECONDS, 1)

    assert counted["requests"] > 0
    assert counted["failed"] == 0
    assert lengths <= set(range(64, 126))


def test_service_speaks_with_another_caller(backend: Backend) -> None:
    with dial(backend.ports[0]) as sock:
        sock.sendall(ASKED)
        head, _ = read_head(sock)
        assert head == AGREED % ACCEPT

        talk = over_client(sock)
        for size in (0, 64, 125):
            talk.send("x" * size)
            assert talk.recv() == "x" * size


def refuse(sock: socket.socket) -> None:
    """Does not upgrade."""
    read_head(sock)
    sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


def agree_to_another_key(sock: socket.socket) -> None:
    """Upgrades as if the key had been another, and echoes."""
    read_head(sock)
    sock.sendall(AGREED % b"AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    converse(over(sock, Side.SERVER))


def answer_otherwise(sock: socket.socket) -> None:
    """Answers one message by another of the same length."""
    read_head(sock)
    sock.sendall(AGREED % ACCEPT)
    size = sock.recv(1000)[1] & 127
    sock.sendall(bytes([0x81, size]) + b"?" * size)
    sock.recv(1000)


@pytest.mark.parametrize("handler", [refuse, agree_to_another_key, answer_otherwise])
def test_other_answers_failed(backends: Backends, program: Path, handler: Callable[[socket.socket], None]) -> None:
    counted = driven(program, "load", backends.serve(handler), DEADLINE, 3)  # it ends with the last connection

    assert (counted["requests"], counted["failed"]) == (0, 3)


def test_upgrades_that_nobody_answers_failed(backends: Backends, program: Path) -> None:
    def listen(sock: socket.socket) -> None:
        while sock.recv(1000):
            pass

    counted = driven(program, "load", backends.serve(listen), SECONDS, 3)

    assert (counted["requests"], counted["failed"]) == (0, 3)
