"""What is asked of a broker that does not read, and of the next one."""

import json
import socket
from collections.abc import Iterator

import pytest

from tulle.core.backends import EndpointRef
from tulle.proxy.approach import PodDialer
from tulle.proxy.broker import BrokerClient
from tulle.proxy.loop import Dispatcher

SHORT, LONG = 0.02, 600.0
"""Seconds that a dial waits for its socket: what is to wait for nobody, and what is still waited for however slow this box is."""
SHOP = EndpointRef("default/shop", "default/shop", "", 80)


class Pods:
    """A dialer whose broker is the test."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher(print)
        self.link, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.setblocking(False)
        self.broker = BrokerClient(self.dispatcher, ours, print)
        self.broker.start()
        self.dialer = PodDialer(self.dispatcher, self.broker, lambda *_: None)
        self.came: list[socket.socket | None] = []

    def dial(self, times: int, patience: float = LONG) -> None:
        for _ in range(times):
            self.dialer.dial(SHOP, self.came.append, patience)

    def until_came(self, times: int) -> None:
        while len(self.came) < times:
            self.dispatcher.turn(self.dispatcher.epoll.poll(min(self.dispatcher.wait(), 1.0)))

    def asked(self) -> list[int]:
        """Numbers of the questions that there are by now."""
        self.dispatcher.turn(self.dispatcher.epoll.poll(0.0))
        numbers = []
        while True:
            try:
                numbers.append(json.loads(self.link.recv(4096))["id"])
            except BlockingIOError:
                return numbers


@pytest.fixture
def pods() -> Iterator[Pods]:
    made = Pods()
    yield made
    made.link.close()
    made.broker.sock.close()
    made.dispatcher.epoll.close()


def test_questions_that_nobody_waits_for_do_not_pile_up(pods: Pods) -> None:
    dialled = 0
    while len(pods.broker.unsent) < 100:
        pods.dial(1, SHORT)
        dialled += 1
    for _ in range(10):
        pods.dial(100, SHORT)
        dialled += 100
        pods.until_came(dialled)
    assert pods.came == [None] * dialled
    assert len(pods.broker.unsent) <= 100

    pods.asked()
    pods.dial(1)
    assert len(pods.asked()) == 1


def test_another_broker_is_asked_what_the_one_before_left(pods: Pods) -> None:
    pods.dial(3)
    left = pods.asked()
    assert len(left) == 3
    pods.broker.ask_again()
    assert pods.asked() == left


def test_what_waits_for_room_is_asked_once(pods: Pods) -> None:
    while len(pods.broker.unsent) < 10:
        pods.dial(1)
    unsent = list(pods.broker.unsent)
    pods.broker.ask_again()
    asked: list[int] = []
    while more := pods.asked():
        asked += more
    assert [asked.count(number) for number in unsent] == [1] * 10
