"""Linux before 6.17 names no user for a connection that nobody has accepted yet."""

import os
import socket
import struct
from typing import cast

import pytest

from tests.support.attached import ORDERS, Actor
from tests.support.attached_mesh import State
from tulle.core.backends import EndpointRef
from tulle.kit.netlink import open_sock_diag
from tulle.kit.sock_diag import SockDiag
from tulle.proxy.arrival import Register
from tulle.proxy.attached import AttachedDialer
from tulle.proxy.attest import Attestor
from tulle.proxy.counters import Counters
from tulle.proxy.facts import Facts
from tulle.proxy.loop import Dispatcher
from tulle.proxy.relay import Relay

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="several users are needed: run as root")

UID, INODE, COOKIE, STATE, LISTEN = 80, 84, 60, 17, 10


class OldKernel:
    """A netlink socket whose answers are as those kernels gave them."""

    def __init__(self, real: socket.socket, changes_hands: bool) -> None:
        self._real = real
        self._changes_hands = changes_hands
        self._listeners = 0

    def setblocking(self, flag: bool) -> None:
        self._real.setblocking(flag)

    def connect(self, peer: tuple[int, int]) -> None:
        self._real.connect(peer)

    def send(self, question: bytes) -> int:
        return self._real.send(question)

    def recv(self, size: int) -> bytes:
        answer = bytearray(self._real.recv(size))
        if len(answer) > INODE:
            if not struct.unpack_from("=I", answer, INODE)[0]:
                struct.pack_into("=I", answer, UID, 0)
            if answer[STATE] == LISTEN:
                self._listeners += 1
                if self._changes_hands:
                    struct.pack_into("=I", answer, COOKIE, self._listeners)
        return bytes(answer)


@pytest.mark.parametrize("changes_hands", [False, True])
def test_peer_is_who_listens_where_that_did_not_change(changes_hands: bool) -> None:
    reported: list[str] = []
    dispatcher = Dispatcher(reported.append)
    relay = Relay(dispatcher, Counters())
    facts = Facts(sees_all_users=True)
    facts.tell("default/orders", ORDERS, None)
    got: list[socket.socket | None] = []
    with open_sock_diag() as real, Actor(ORDERS) as orders:
        diag = SockDiag(cast("socket.socket", OldKernel(real, changes_hands)))
        dialer = AttachedDialer(relay, Attestor(dispatcher, Register(), diag, facts, lambda: False), reported.append)
        port = orders.run(listen)
        dialer.dial(EndpointRef("default/orders", "", "", port), got.append)
        (sock,) = got
        assert (sock is None) == changes_hands
        if sock is not None:
            sock.close()
    dispatcher.epoll.close()
    assert not reported


def listen(state: State) -> int:
    state["listener"] = socket.create_server(("127.0.0.1", 0))
    return int(state["listener"].getsockname()[1])
