"""What is made of the kernel's answers, whole and broken, late and others'."""

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

import pytest

from tulle.kit.sock_diag import ESTABLISHED, LISTEN, Place, SockDiag, place_of

QUESTION = struct.Struct("=IHHII BBBB I HH16s16s I8s")
THEIRS, OURS = place_of("127.0.0.1", 40000), place_of("127.80.0.1", 80)


class Netlink:
    """A netlink socket whose kernel is the test."""

    def __init__(self, answer: Callable[[int, bytes], list[bytes]]) -> None:
        self.waiting: list[bytes] = []
        self.questions: list[bytes] = []
        self.peer: tuple[int, int] | None = None
        self._answer = answer

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def connect(self, peer: tuple[int, int]) -> None:
        self.peer = peer

    def send(self, question: bytes) -> int:
        self.questions.append(question)
        self.waiting += self._answer(QUESTION.unpack(question)[3], question)
        return len(question)

    def recv(self, size: int) -> bytes:
        if not self.waiting:
            raise BlockingIOError
        return self.waiting.pop(0)[:size]


def ask(netlink: Netlink, theirs: Place = THEIRS, ours: Place = OURS) -> object:
    return SockDiag(cast("socket.socket", netlink)).connection(theirs, ours)


def answer(
    sequence: int,
    family: int = socket.AF_INET,
    state: int = ESTABLISHED,
    theirs: bytes = bytes([127, 0, 0, 1]) + bytes(12),
    ours: bytes = bytes([127, 80, 0, 1]) + bytes(12),
    uid: int = 7,
    cgroup: int = 9,
) -> bytes:
    """As the kernel writes it."""
    body = struct.pack(
        "=BBBB HH16s16sI8s IIIII", family, state, 0, 0, *(0, 0), theirs, ours, 0, b"cookie!!", 0, 0, 0, uid, 5
    )
    body = body[:4] + struct.pack("!HH", 40000, 80) + body[8:]
    # a class id, padding, then the control group: as a kernel may order them
    attributes = struct.pack("=HHI HH HHQ", 8, 17, 0, 4, 20, 12, 21, cgroup)
    length = 16 + len(body) + len(attributes)
    return struct.pack("=IHHII", length, 20, 0, sequence, 0) + body + attributes


def refusal(sequence: int, number: int = errno.ENOENT) -> bytes:
    return struct.pack("=IHHIIi", 20, 2, 0, sequence, 0, -number)


def test_question_names_both_ends_and_the_loopback_device() -> None:
    netlink = Netlink(lambda sequence, _: [answer(sequence)])
    ask(netlink)
    length, kind, flags, _, _, family, protocol, _, _, states, port, peer_port, own, peer, device, cookie = (
        QUESTION.unpack(netlink.questions[0])
    )
    assert (length, kind, flags, family, protocol, states) == (72, 20, 1, socket.AF_INET, 6, 0xFFFFFFFF)
    assert (socket.ntohs(port), socket.ntohs(peer_port), own[:4], peer[:4]) == (
        40000,
        80,
        b"\x7f\0\0\1",
        b"\x7f\x50\0\1",
    )
    assert (device, cookie, netlink.peer) == (1, b"\xff" * 8, (0, 0))


def test_answer_is_read() -> None:
    found = SockDiag(cast("socket.socket", Netlink(lambda sequence, _: [answer(sequence)]))).connection(THEIRS, OURS)
    assert found is not None
    assert (found.state, found.uid, found.inode, found.cgroup, found.cookie, found.is_same) == (
        ESTABLISHED,
        7,
        5,
        9,
        b"cookie!!",
        True,
    )


def test_v4_socket_that_the_kernel_shows_as_v6_is_the_same() -> None:
    mapped = bytes(10) + b"\xff\xff"
    theirs, ours = mapped + b"\x7f\0\0\1", mapped + b"\x7f\x50\0\1"
    found = ask(Netlink(lambda sequence, _: [answer(sequence, socket.AF_INET6, theirs=theirs, ours=ours)]))
    assert getattr(found, "is_same", None) is True


@pytest.mark.parametrize(
    "other",
    [
        {"theirs": bytes([127, 0, 0, 2]) + bytes(12)},
        {"ours": bytes(16)},
        {"family": socket.AF_INET6},
        {"family": socket.AF_INET6, "theirs": bytes(10) + b"\xff\xff\x7f\0\0\1"},
    ],
)
def test_another_socket_is_not_the_same(other: dict[str, Any]) -> None:
    found = ask(Netlink(lambda sequence, _: [answer(sequence, **other)]))
    assert getattr(found, "is_same", None) is False


def test_answers_to_others_are_passed_over() -> None:
    netlink = Netlink(lambda sequence, _: [answer(sequence - 1, uid=0), refusal(sequence + 1), answer(sequence)])
    netlink.waiting = [answer(3, uid=0), refusal(4)]
    assert getattr(ask(netlink), "uid", None) == 7


def test_answer_that_another_took_is_asked_for_again() -> None:
    turns = iter([[], [answer(1)], None])

    def sometimes(sequence: int, _: bytes) -> list[bytes]:
        said = next(turns)
        return [answer(sequence)] if said is None else said

    assert getattr(ask(Netlink(sometimes)), "uid", None) == 7


def test_silent_kernel_names_nobody() -> None:
    netlink = Netlink(lambda sequence, _: [])
    assert ask(netlink) is None
    assert len(netlink.questions) == 3


def test_flood_of_others_answers_names_nobody() -> None:
    assert ask(Netlink(lambda sequence, _: [answer(sequence + 1)] * 1000)) is None


@pytest.mark.parametrize("kept", [16, 20, 60, 87])
def test_half_an_answer_names_nobody(kept: int) -> None:
    assert ask(Netlink(lambda sequence, _: [answer(sequence)[:kept]])) is None


def test_refusal_names_nobody() -> None:
    assert ask(Netlink(lambda sequence, _: [refusal(sequence)])) is None
    assert ask(Netlink(lambda sequence, _: [refusal(sequence, errno.EPERM)])) is None


def test_attributes_that_lie_about_their_size_say_no_group() -> None:
    for size, name in (0, 21), (3, 21), (255, 21), (8, 21), (12, 20):

        def lying(sequence: int, _: bytes, size: int = size, name: int = name) -> list[bytes]:
            whole = bytearray(answer(sequence))
            struct.pack_into("=HH", whole, 88 + 12, size, name)
            return [bytes(whole)]

        found = ask(Netlink(lying))
        assert getattr(found, "cgroup", None) == 0


def test_only_a_listening_socket_is_a_listener() -> None:
    for state, is_one in (LISTEN, True), (ESTABLISHED, False):
        netlink = Netlink(lambda sequence, _, state=state: [answer(sequence, state=state)])  # type: ignore[misc]
        assert (SockDiag(cast("socket.socket", netlink)).listener(OURS) is not None) == is_one


def test_ends_of_two_families_are_no_connection() -> None:
    netlink = Netlink(lambda sequence, _: [answer(sequence)])
    assert ask(netlink, place_of("::1", 1), OURS) is None
    assert netlink.questions == []


def test_places_are_as_the_kernel_compares_them() -> None:
    mapped, plain = place_of("::ffff:127.0.0.1", 5), place_of("127.0.0.1", 5)
    assert (mapped.family, mapped.address, mapped.port) == (plain.family, plain.address, plain.port)
    assert place_of("fe80::1%lo", 5).address == socket.inet_pton(socket.AF_INET6, "fe80::1")
    for nonsense in "localhost", "1.2.3", "::g":
        with pytest.raises(OSError):
            place_of(nonsense, 1)
