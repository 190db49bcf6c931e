import socket

import pytest

from tulle.proxy.loop import Dispatcher
from tulle.proxy.wire import Party, Wire


class Listener(Party):
    """Keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = b""
        self.is_over = False

    def on_octets(self, octets: bytes) -> None:
        self.heard += octets

    def on_end(self) -> None:
        self.is_over = True


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
