"""A wire and what is moved from one to another, on sockets of the test's own and turns that it makes itself."""

import socket
from collections.abc import Iterator

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


class Way:
    """Two wires, a sender before the one and a getter behind the other."""

    def __init__(self, before: tuple[socket.socket, socket.socket]) -> None:
        self.dispatcher = Dispatcher(print)
        self.sender, ours = before
        outwards, self.getter = socket.socketpair()
        for sock in (self.sender, ours, outwards, self.getter):
            sock.setblocking(False)
        self.caller, self.endpoint = Listener(), Listener()
        self.source = Wire(self.dispatcher, ours, self.caller)
        self.sink = Wire(self.dispatcher, outwards, self.endpoint)
        self.source.start()
        self.sink.start()

    def turn(self, patience: float = 5) -> None:
        """Serves what happened, or happens within so many seconds."""
        self.dispatcher.turn(self.dispatcher.epoll.poll(patience))

    def close(self) -> None:
        for wire in (self.source, self.sink):
            wire.close()
        self.dispatcher.turn([])
        self.dispatcher.epoll.close()
        self.sender.close()
        self.getter.close()


@pytest.fixture
def way() -> Iterator[Way]:
    made = Way(socket.socketpair())
    yield made
    made.close()


@pytest.fixture
def way_by_tcp() -> Iterator[Way]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        made = Way((sender, listener.accept()[0]))
    yield made
    made.close()


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
def test_what_is_written_behind_what_a_pipe_holds_comes_behind_it(way: Way) -> None:
    sent = 0
    piece = bytes(range(256)) * 256
    while not way.dispatcher.held:
        way.source.move_to(way.sink)
        way.sender.sendall(piece)
        way.turn(0.1)
        sent += len(piece)
    assert way.caller.moved == sent
    assert not way.caller.heard

    assert not way.sink.write(b"the last")

    way.sink.shut()
    got = b""
    while not way.endpoint.is_drained:
        got += way.getter.recv(1 << 20)
        way.turn(0.1)
    while octets := way.getter.recv(1 << 20):
        got += octets
    assert got == piece * (sent // len(piece)) + b"the last"
    assert way.dispatcher.held == way.dispatcher.pipes.lent == 0


@pytest.mark.of_sources
def test_what_comes_while_the_sink_is_clogged_is_not_moved_past_what_waits_there(way: Way) -> None:
    while way.sink.write(b"first" * 10_000):
        pass

    way.source.move_to(way.sink)
    way.sender.sendall(b"then")
    way.turn()

    assert way.caller.heard == b"then"
    assert way.caller.moved == 0


@pytest.mark.of_sources
def test_no_more_is_moved_than_was_said_and_the_rest_is_read(way: Way) -> None:
    way.source.move_to(way.sink, 50_000)
    way.sender.sendall(bytes(50_000) + b"then")
    while not way.caller.heard:
        way.turn()

    assert way.caller.moved == 50_000
    assert way.caller.heard == b"then"
    got = b""
    while len(got) < 50_000:
        got += way.getter.recv(1 << 20)
        way.turn(0)
    assert got == bytes(50_000)
    assert way.dispatcher.held == way.dispatcher.pipes.lent == 0


@pytest.mark.of_sources
def test_what_breaks_while_it_is_moved_has_not_ended(way_by_tcp: Way) -> None:
    """A transfer that was cut off would look whole."""
    way = way_by_tcp
    way.source.move_to(way.sink)
    way.sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    way.sender.close()

    way.turn()

    assert way.caller.is_lost
    assert not way.caller.is_over
    assert way.dispatcher.pipes.lent == 0
