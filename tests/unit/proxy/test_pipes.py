import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tulle.proxy.pipes import MAX_IDLE, MAX_PIPES, PAUSE, PIPE_BYTES, Pipe, Pipes
from tulle.proxy.wire import RESET

DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket, socket.socket, socket.socket]]:
    """Who sends, where that comes, what leads on, and who gets it."""
    socks = (*socket.socketpair(), *socket.socketpair())
    for sock in socks:
        sock.setblocking(False)
    yield socks
    for sock in socks:
        sock.close()


def lent(pipes: Pipes, now: float = 0.0) -> Pipe:
    """One that there must be."""
    pipe = pipes.lend(now)
    assert pipe is not None
    return pipe


def test_octets_go_through_in_order(ends: tuple[socket.socket, ...]) -> None:
    sender, source, sink, getter = ends
    pipes = Pipes()
    pipe = lent(pipes)
    assert pipe.fill(source.fileno(), PIPE_BYTES) == 0
    sender.sendall(b"first, ")
    assert pipe.fill(source.fileno(), PIPE_BYTES) == 7
    sender.sendall(b"then")
    assert pipe.fill(source.fileno(), PIPE_BYTES) == 4
    assert pipe.held == 11
    assert pipe.empty(sink.fileno()) == 11
    assert pipe.held == 0
    assert getter.recv(100) == b"first, then"
    pipes.give_back(pipe)


def test_no_more_is_taken_than_was_asked_for(ends: tuple[socket.socket, ...]) -> None:
    sender, source, sink, getter = ends
    pipe = lent(Pipes())
    sender.sendall(b"a body" + b"what follows")
    assert pipe.fill(source.fileno(), 4) == 4
    assert pipe.fill(source.fileno(), 2) == 2
    assert pipe.empty(sink.fileno()) == 6
    assert getter.recv(100) == b"a body"
    assert source.recv(100) == b"what follows"


def test_a_full_sink_leaves_the_rest_in_the_pipe(ends: tuple[socket.socket, ...]) -> None:
    sender, source, sink, getter = ends
    pipe = lent(Pipes())
    sent = got = b""
    with pytest.raises(BlockingIOError):
        for _ in range(1000):
            piece = os.urandom(50_000)
            assert sender.send(piece) == pipe.fill(source.fileno(), PIPE_BYTES) == len(piece)
            sent += piece
            while pipe.held:
                pipe.empty(sink.fileno())
    assert pipe.held
    while pipe.held:
        got += getter.recv(65536)
        pipe.empty(sink.fileno())
    while len(got) < len(sent):
        got += getter.recv(65536)
    assert got == sent
    pipe.close()


def test_a_broken_sink_raises_and_its_pipe_is_not_lent_again(ends: tuple[socket.socket, ...]) -> None:
    sender, source, sink, getter = ends
    pipes = Pipes()
    pipe = lent(pipes)
    sender.sendall(b"lost")
    assert pipe.fill(source.fileno(), PIPE_BYTES) == 4
    getter.close()
    with pytest.raises(BrokenPipeError):
        pipe.empty(sink.fileno())
    pipes.give_back(pipe)
    other = lent(pipes)
    assert other is not pipe
    assert other.held == 0
    assert other.fill(source.fileno(), PIPE_BYTES) == 0


def test_an_end_and_what_was_never_connected_look_like_nothing(ends: tuple[socket.socket, ...]) -> None:
    sender, source, _, _ = ends
    pipe = lent(Pipes())
    sender.close()
    assert pipe.fill(source.fileno(), PIPE_BYTES) == 0
    with socket.socket() as unconnected:
        assert pipe.fill(unconnected.fileno(), PIPE_BYTES) == 0
    pipe.close()


def test_a_connection_that_broke_is_no_end_of_it() -> None:
    """Who reads after the pipe has met the reset is told that all has come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        source, _ = listener.accept()
    source.setblocking(False)
    pipe = lent(Pipes())
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sender.close()
    assert select.select([source], [], [], 20)[0]
    with pytest.raises(ConnectionResetError):
        pipe.fill(source.fileno(), PIPE_BYTES)
    source.close()
    pipe.close()


def test_so_many_are_lent_and_no_more() -> None:
    pipes = Pipes()
    out = [lent(pipes) for _ in range(MAX_PIPES)]
    assert pipes.lend(0.0) is None
    pipes.give_back(out.pop())
    out.append(lent(pipes))
    assert pipes.lend(0.0) is None
    for pipe in out:
        pipes.give_back(pipe)
    assert pipes.lent == 0


def test_few_are_kept_open_when_nothing_moves() -> None:
    pipes = Pipes()
    before = len(list(DESCRIPTORS.iterdir()))
    out = [lent(pipes) for _ in range(MAX_PIPES)]
    assert len(list(DESCRIPTORS.iterdir())) == before + 2 * MAX_PIPES
    for pipe in out:
        pipes.give_back(pipe)
    assert len(list(DESCRIPTORS.iterdir())) == before + 2 * MAX_IDLE


def test_where_the_kernel_gives_none_it_is_asked_once_a_second() -> None:
    answers: list[Pipe | None] = [None, Pipe(-1, -1, PIPE_BYTES)]
    pipes = Pipes(lambda: answers.pop(0))
    assert pipes.lend(10.0) is None
    assert pipes.lend(10.0 + PAUSE / 2) is None
    assert len(answers) == 1
    assert pipes.lend(10.0 + PAUSE) is not None
    assert pipes.lent == 1
