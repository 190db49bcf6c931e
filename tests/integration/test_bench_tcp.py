"""The bench's pump and its ends of opaque TCP: octets come whole, and what is counted is what came back."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from benchmarks.backend import Backend
from benchmarks.cases.tcp import opaque
from benchmarks.ends import driven
from benchmarks.process import PROXY_CORE, start
from benchmarks.programs import compile_program
from tests.support.processes import eventually
from tests.support.programs import needs
from tests.support.proxy_harness import DEADLINE, Backends, dial, read_all
from tools.ports import free_port

pytestmark = needs("cc")
SECONDS = 0.5
"""Of load: enough for one answer however the box is busy."""
LONG = bytes(range(256)) * 40_000
"""Ten megabytes: more than sockets hold."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tcp")


@pytest.fixture(scope="module")
def program(work: Path) -> Path:
    return compile_program("tcp_load", work)


@pytest.fixture(scope="module")
def pump(work: Path) -> Path:
    return compile_program("pump", work)


@pytest.fixture
def backend(tmp_path: Path, program: Path) -> Iterator[Backend]:
    with ExitStack() as started:
        yield opaque(started, tmp_path, program).backend


Pumped = Callable[..., int]


@pytest.fixture
def pumped(tmp_path: Path, pump: Path) -> Iterator[Pumped]:
    """Puts a pump before a port."""
    with ExitStack() as started:

        def begin(target: int, *words: str) -> int:
            port = free_port()
            start(started, PROXY_CORE, [pump, str(port), str(target), *words], tmp_path / "pump.log")

            def listens() -> bool:
                with suppress(ConnectionRefusedError):
                    dial(port).close()
                    return True
                return False

            eventually(lambda: listens() or None, within=10, what="the pump listens")
            return port

        yield begin


@pytest.mark.parametrize("words", [(), ("--splice",)])
def test_pump_hands_on_every_octet_and_each_end(backends: Backends, pumped: Pumped, words: tuple[str, ...]) -> None:
    def answer_at_the_end(sock: socket.socket) -> None:
        sock.sendall(read_all(sock))

    with dial(pumped(backends.serve(answer_at_the_end), *words)) as sock:
        sock.sendall(LONG)
        sock.shutdown(socket.SHUT_WR)

        assert read_all(sock) == LONG


@pytest.mark.parametrize("words", [(), ("--splice",)])
def test_pump_does_not_read_what_nobody_takes(backends: Backends, pumped: Pumped, words: tuple[str, ...]) -> None:
    sent = threading.Event()

    def take_nothing(sock: socket.socket) -> None:
        sent.wait(DEADLINE)

    with dial(pumped(backends.serve(take_nothing), *words)) as sock, pytest.raises(TimeoutError):
        sock.settimeout(0.5)
        for _ in range(10):
            sock.sendall(LONG)
    sent.set()


def test_pump_ends_the_caller_of_a_target_that_is_gone(pumped: Pumped) -> None:
    with dial(pumped(free_port())) as sock:
        assert sock.recv(1) == b""


def test_connections_that_are_answered_are_counted(backend: Backend, program: Path, pumped: Pumped) -> None:
    for port in (*backend.ports, pumped(backend.ports[0])):
        counted = driven(program, "connect", port, SECONDS, 4)

        assert counted["requests"] > 0
        assert counted["failed"] == 0


@pytest.mark.parametrize("way", ["down", "up"])
def test_bulk_is_counted(backend: Backend, program: Path, pumped: Pumped, way: str) -> None:
    for port in (backend.ports[0], pumped(backend.ports[0], "--splice")):
        counted = driven(program, way, port, SECONDS, 2)

        assert counted["moved"] > 0
        assert counted["failed"] == 0


def shift(sock: socket.socket) -> None:
    """Echoes, one octet changed."""
    while octets := sock.recv(64):
        sock.sendall(octets[:-1] + b"!")


def hang_up(sock: socket.socket) -> None:
    """Reads a little and leaves."""
    sock.recv(64)


@pytest.mark.parametrize(
    ("way", "handler"), [("connect", shift), ("connect", hang_up), ("down", hang_up), ("up", hang_up)]
)
def test_other_answers_failed(
    backends: Backends, program: Path, way: str, handler: Callable[[socket.socket], None]
) -> None:
    counted = driven(program, way, backends.serve(handler), SECONDS, 2)

    assert counted["requests"] == 0
    assert counted["failed"] > 0


def test_block_that_the_service_counts_otherwise_failed(backends: Backends, program: Path) -> None:
    def count_too_little(sock: socket.socket) -> None:
        sock.sendall(struct.pack("<8sQ48x", b"U", 1 << 20))
        while sock.recv(1 << 20):
            pass

    counted = driven(program, "up", backends.serve(count_too_little), SECONDS, 1)

    assert counted["requests"] == 0
    assert counted["failed"] > 0
