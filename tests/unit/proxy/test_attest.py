"""The rule: each condition by itself, on a kernel of the test's."""

import socket
import struct
from typing import cast

import pytest

from tulle.kit.sock_diag import SockDiag, place_of
from tulle.proxy.arrival import Register
from tulle.proxy.attest import LOOK_EVERY, WAIT_SECONDS, Attestor, Parked, Who, sees_all_users
from tulle.proxy.facts import Facts
from tulle.proxy.loop import Dispatcher

UID = 7
THEIRS, OURS = place_of("127.0.0.1", 40000), place_of("127.80.0.1", 80)
ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT = 1, 4, 5, 8
STATES = range(1, 14)
"""As in linux/tcp_states.h."""


class Netlink:
    """Answers every question with one socket."""

    def __init__(self, state: int, inode: int, port: int) -> None:
        self._state = state
        self._inode = inode
        self._port = port
        self._answer = b""
        self.questions = 0

    def setblocking(self, flag: bool) -> None:
        pass

    def connect(self, peer: tuple[int, int]) -> None:
        pass

    def send(self, question: bytes) -> int:
        self.questions += 1
        (sequence,) = struct.unpack_from("=I", question, 8)
        place = bytearray(question[24:60])
        struct.pack_into("!H", place, 2, self._port)
        body = struct.pack("=BBBB", socket.AF_INET, self._state, 0, 0) + place
        body += struct.pack("=I8s IIIII", 1, b"cookie!!", 0, 0, 0, UID, self._inode)
        self._answer = struct.pack("=IHHII", 16 + len(body), 20, 0, sequence, 0) + body
        return len(question)

    def recv(self, size: int) -> bytes:
        answer, self._answer = self._answer, b""
        if not answer:
            raise BlockingIOError
        return answer


class Ours:
    """Our end of the connection."""

    def __init__(self, state: int) -> None:
        self._state = state

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        if not self._state:
            raise OSError
        return bytes([self._state])


def attested(theirs: int = ESTABLISHED, inode: int = 5, port: int = 80, ours: int = ESTABLISHED) -> str:
    """Who it is, when the kernel says so of them and so of us: asked once, whatever it says."""
    dispatcher = Dispatcher(print)
    facts = Facts(sees_all_users=True)
    facts.tell("default/web", UID, None)
    facts.tell("default/root", 0, None)
    netlink = Netlink(theirs, inode, port)
    found: list[Who] = []
    attestor = Attestor(dispatcher, Register(), SockDiag(cast("socket.socket", netlink)), facts, lambda: False)
    attestor.attest(cast("socket.socket", Ours(ours)), THEIRS, OURS, lambda _, who: found.append(who))
    dispatcher.epoll.close()
    (who,) = found
    assert netlink.questions == 1
    assert bool(who.workload) == (who.uid == UID)
    return who.workload


@pytest.mark.parametrize("state", STATES)
def test_only_a_connected_or_half_closed_socket_is_believed(state: int) -> None:
    assert attested(theirs=state) == ("default/web" if state in (ESTABLISHED, FIN_WAIT1, FIN_WAIT2) else "")


@pytest.mark.parametrize("state", [0, *STATES])
def test_nothing_is_believed_once_our_own_end_is_not_connected(state: int) -> None:
    assert attested(ours=state) == ("default/web" if state in (ESTABLISHED, CLOSE_WAIT) else "")


def test_socket_that_no_process_holds_is_not_believed() -> None:
    assert attested(inode=0) == ""


def test_socket_with_other_ends_is_not_believed() -> None:
    assert attested(port=81) == ""


@pytest.mark.parametrize(
    ("uid_map", "does"),
    [
        ("         0          0 4294967295\n", True),
        ("      1000       1000          1\n", False),
        ("         0     100000      65536\n", False),
        ("         0       1000          1\n         1     100000      65536\n", False),
        ("", False),
    ],
)
def test_only_a_whole_map_names_every_user(uid_map: str, does: bool) -> None:
    assert sees_all_users(uid_map) == does


def test_who_comes_after_a_late_look_is_looked_for_as_soon_as_after_any() -> None:
    """While a look is on its way another is asked for once it counts as lost; the answer ends that."""
    looks: list[float] = []

    def ask() -> bool:
        looks.append(dispatcher.now)
        return True

    dispatcher = Dispatcher(print)
    attestor = Attestor(
        dispatcher, Register(), SockDiag(cast("socket.socket", Netlink(ESTABLISHED, 5, 80))), Facts(True), ask
    )
    began = dispatcher.now - LOOK_EVERY - WAIT_SECONDS  # the look that is looked for here is due
    judged: list[int] = []

    def come(at: float, cgroup: int) -> None:
        dispatcher.now = began + at
        waiter = Parked(attestor, cast("socket.socket", Ours(ESTABLISHED)), lambda _, who: judged.append(who.cgroup))
        assert attestor.wait(waiter, UID, cgroup)

    come(0.0, 1)
    come(0.15, 2)
    for _ in range(2):
        attestor.take("looked", "", -1, None)
    come(0.2, 3)
    dispatcher.turn([])
    dispatcher.epoll.close()

    assert judged[:2] == [1, 2]
    assert looks[:2] == [began, began + 0.15]
    assert len(looks) == 3
