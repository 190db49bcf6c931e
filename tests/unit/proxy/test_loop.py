"""One defect ends what it hit, is told with its trace, and nothing else; what is put off waits for one turn, once."""

import socket

import pytest

from tests.support.relay_bench import Bench, broken_dial
from tulle.proxy.loop import READ, Dispatcher, Foremost
from tulle.proxy.wheel import Alarm, Timed
from tulle.wire.snapshot import Protocol


def test_a_defect_in_a_deadline_ends_its_connection_and_no_other() -> None:
    bench = Bench(Protocol.DETECT, broken_dial)
    rang: list[float] = []
    with bench.caller() as silent, bench.caller() as other:
        other.sendall(b"GET / ")  # perhaps a request: it waits for its head's deadline
        bench.dispatcher.soon(alarm := Alarm(bench.dispatcher.now + 0.02, rang.append), alarm.deadline)
        bench.until(lambda: len(bench.register.connections) == 1 and bool(rang))
        assert silent.recv(1) == b""
        other.sendall(b"HTTP/1.1\r\nhost: a\r\n\r\n")
        bench.until(lambda: not bench.relay.counters.in_flight and len(bench.told) == 2)
        assert other.recv(65536).startswith(b"HTTP/1.1 500 ")
    bench.until(lambda: not bench.register.connections)
    assert bench.dispatcher.defects == 2
    assert all("no way to 127.0.0.1" in one and "Traceback" in one for one in bench.told)
    assert bench.relay.counters.answers == {("anonymous", "default/orders", "internal"): 2}
    assert bench.endpoints_in_flight() == 0


def test_a_defect_at_a_wheels_deadline_does_not_keep_it_from_turning() -> None:
    bench = Bench(Protocol.DETECT, broken_dial)
    rang: list[float] = []
    now = bench.dispatcher.now

    def fail(at: float) -> None:
        raise ValueError(at)

    for ring in (fail, rang.append, fail):
        bench.dispatcher.wheel.add(Alarm(now, ring), now)
    bench.until(lambda: len(rang) == 1)
    assert bench.dispatcher.defects == len(bench.told) == 2
    assert bench.dispatcher.wait() > 0.0


class PutOff(Timed):
    """Counts its turns, and is put off again as often as it is told."""

    def __init__(self, dispatcher: Dispatcher, again: int) -> None:
        super().__init__()
        self.turns = 0
        self._dispatcher = dispatcher
        self._again = again

    def on_turn(self) -> None:
        self.turns += 1
        if self._again:
            self._again -= 1
            self._dispatcher.postpone(self)


@pytest.mark.of_sources
@pytest.mark.parametrize("again", [0, 2])
def test_what_an_event_puts_off_has_each_of_its_turns_once_and_later(again: int) -> None:
    dispatcher = Dispatcher(lambda _: None)
    one = PutOff(dispatcher, again)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        dispatcher.watch(watched := Foremost(ours, lambda: dispatcher.postpone(one)), READ)
        watched.is_idle = False
        theirs.send(b"x")
        dispatcher.turn([(watched.fd, READ)])
        assert one.turns == 0
        for turn in range(1, 6):
            dispatcher.turn([])
            assert one.turns == min(turn, again + 1)
