import socket

import pytest

from tulle.proxy.loop import Dispatcher
from tulle.proxy.party import Party
from tulle.proxy.wire import RESET, Wire


class Listener(Party):
    """Keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = b""
        self.is_over = False
        self.is_lost = False
        self.is_drained = False
        self.moved = 0

    def on_octets(self, octets: bytes) -> None:
        self.heard += octets

    def on_moved(self, octets: int) -> None:
        self.moved += octets

    def on_drained(self) -> None:
        self.is_drained = True

    def on_end(self) -> None:
        self.is_over = True

    def on_lost(self) -> None:
        self.is_lost = True


@pytest.mark.of_sources
def test_hang_up_and_resume_in_one_turn_lose_nothing() -> None:
    """The hang-up was told of a wire that expected nothing; by the time it is served, somebody reads again."""
    dispatcher = Dispatcher(print)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    party = Listener()
    wire = Wire(dispatcher, ours, party)
    wire.start()
    wire.pause()
    theirs.sendall(b"the last")
    theirs.close()
    events = dispatcher.epoll.poll(5)
    assert events

    wire.resume()
    dispatcher.turn(events)
    for _ in range(2):
        dispatcher.turn(dispatcher.epoll.poll(0.1))

    assert party.heard == b"the last"
    assert party.is_over
    wire.close()
    dispatcher.turn([])
    dispatcher.epoll.close()


@pytest.mark.of_sources
def test_what_is_written_behind_what_a_pipe_holds_comes_behind_it() -> None:
    dispatcher = Dispatcher(print)
    (sender, ours), (outwards, getter) = socket.socketpair(), socket.socketpair()
    for sock in (sender, ours, outwards, getter):
        sock.setblocking(False)
    caller, endpoint = Listener(), Listener()
    source, sink = Wire(dispatcher, ours, caller), Wire(dispatcher, outwards, endpoint)
    source.start()
    sink.start()
    sent = 0
    piece = bytes(range(256)) * 256
    while not dispatcher.held:
        source.move_to(sink)
        sender.sendall(piece)
        dispatcher.turn(dispatcher.epoll.poll(0.1))
        sent += len(piece)
    assert caller.moved == sent
    assert not caller.heard

    assert not sink.write(b"the last")
    sink.shut()
    got = b""
    while not endpoint.is_drained:
        got += getter.recv(1 << 20)
        dispatcher.turn(dispatcher.epoll.poll(0.1))
    while octets := getter.recv(1 << 20):
        got += octets

    assert got == piece * (sent // len(piece)) + b"the last"
    assert dispatcher.held == dispatcher.pipes.lent == 0
    for wire in (source, sink):
        wire.close()
    dispatcher.turn([])
    dispatcher.epoll.close()
    sender.close()
    getter.close()


@pytest.mark.of_sources
def test_what_comes_while_the_sink_is_clogged_is_not_moved_past_what_waits_there() -> None:
    dispatcher = Dispatcher(print)
    (sender, ours), (outwards, getter) = socket.socketpair(), socket.socketpair()
    for sock in (sender, ours, outwards, getter):
        sock.setblocking(False)
    caller, endpoint = Listener(), Listener()
    source, sink = Wire(dispatcher, ours, caller), Wire(dispatcher, outwards, endpoint)
    source.start()
    sink.start()
    while sink.write(b"first" * 10_000):
        pass

    source.move_to(sink)
    sender.sendall(b"then")
    dispatcher.turn(dispatcher.epoll.poll(5))

    assert caller.heard == b"then"
    assert caller.moved == 0
    for wire in (source, sink):
        wire.close()
    dispatcher.turn([])
    dispatcher.epoll.close()
    sender.close()
    getter.close()


@pytest.mark.of_sources
def test_no_more_is_moved_than_was_said_and_the_rest_is_read() -> None:
    dispatcher = Dispatcher(print)
    (sender, ours), (outwards, getter) = socket.socketpair(), socket.socketpair()
    for sock in (sender, ours, outwards, getter):
        sock.setblocking(False)
    caller, endpoint = Listener(), Listener()
    source, sink = Wire(dispatcher, ours, caller), Wire(dispatcher, outwards, endpoint)
    source.start()
    sink.start()

    source.move_to(sink, 50_000)
    sender.sendall(bytes(50_000) + b"then")
    while not caller.heard:
        dispatcher.turn(dispatcher.epoll.poll(5))

    assert caller.moved == 50_000
    assert caller.heard == b"then"
    got = b""
    while len(got) < 50_000:
        got += getter.recv(1 << 20)
        dispatcher.turn(dispatcher.epoll.poll(0))
    assert got == bytes(50_000)
    assert dispatcher.held == dispatcher.pipes.lent == 0
    for wire in (source, sink):
        wire.close()
    dispatcher.turn([])
    dispatcher.epoll.close()
    sender.close()
    getter.close()


@pytest.mark.of_sources
def test_what_breaks_while_it_is_moved_has_not_ended() -> None:
    """A transfer that was cut off would look whole."""
    dispatcher = Dispatcher(print)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    outwards, getter = socket.socketpair()
    for sock in (ours, outwards):
        sock.setblocking(False)
    caller = Listener()
    source, sink = Wire(dispatcher, ours, caller), Wire(dispatcher, outwards, Listener())
    source.start()
    sink.start()
    source.move_to(sink)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sender.close()

    dispatcher.turn(dispatcher.epoll.poll(5))

    assert caller.is_lost
    assert not caller.is_over
    assert dispatcher.pipes.lent == 0
    for wire in (source, sink):
        wire.close()
    dispatcher.turn([])
    dispatcher.epoll.close()
    getter.close()
