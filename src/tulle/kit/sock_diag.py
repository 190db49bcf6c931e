"""Asks the kernel who owns a TCP socket of this box (sock_diag, NETLINK_SOCK_DIAG): one exact look-up, never a dump.

What is told is what the kernel knows; whom to believe is `tulle.proxy.attest`'s matter.
"""

from __future__ import annotations

import socket
import struct
from random import getrandbits
from typing import Final, final

ESTABLISHED: Final = 1
SYN_RECV: Final = 3
FIN_WAIT1: Final = 4
FIN_WAIT2: Final = 5
CLOSE_WAIT: Final = 8
LISTEN: Final = 10
OVERFLOW_UID: Final = 65534
"""How a user namespace shows a uid that it has no name for."""

_BY_FAMILY: Final = 20
_REQUEST: Final = 1
_LOOPBACK: Final = 1
"""Interface index of `lo`: finds sockets bound to that device, and those bound to none."""
_ANY_COOKIE: Final = b"\xff" * 8
_CGROUP_ID: Final = 21
_QUESTION: Final = struct.Struct("=IHHIIBBBBI")
_QUESTION_OCTETS: Final = 72
_INTERFACE: Final = struct.pack("=I", _LOOPBACK)
_PORTS: Final = struct.Struct("!HH")
_SEQUENCE: Final = struct.Struct("=I")
_ANSWER: Final = struct.Struct("=IHHII BBBB")
_PLACE: Final = 20
"""Where an answer says ports and addresses: its socket's own, then the peer's."""
_OWNER: Final = struct.Struct("=8s 12x II")
_OWNER_AT: Final = 60
"""Cookie; expiry and queues are passed over; uid, inode."""
_ATTRIBUTES: Final = 88
_ATTRIBUTE: Final = struct.Struct("=HH")
_ID: Final = struct.Struct("=Q")
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"
_NO_ADDRESS: Final = b"\0" * 16
_TRIES: Final = 3
_MAX_STRAY: Final = 64
"""Answers to others' questions that are skipped for one of ours."""


@final
class Place:
    """One end of a connection, as the kernel compares it: a v4-mapped address is its v4 address."""

    __slots__ = ("address", "family", "port")

    def __init__(self, family: int, address: bytes, port: int) -> None:
        self.family = family
        """AF_INET or AF_INET6."""
        self.address = address
        """16 octets; of v4 the first four, then zeros."""
        self.port = port


@final
class Owner:
    """What the kernel said of one socket."""

    __slots__ = ("cgroup", "cookie", "inode", "is_same", "state", "uid")

    def __init__(self, state: int, uid: int, inode: int, cgroup: int, cookie: bytes, is_same: bool) -> None:
        self.state = state
        """As in linux/tcp_states.h."""
        self.uid = uid
        """Who made it, in the user namespace in which the netlink socket was opened."""
        self.inode = inode
        """0: no process holds it. Then the uid may be 0 whoever made it."""
        self.cgroup = cgroup
        """Id in the cgroup2 tree where it was made; 0: the kernel said none."""
        self.cookie = cookie
        """Names this socket, never another of this boot."""
        self.is_same = is_same
        """Both ends are those that were asked for: the kernel else falls back on a listening socket."""

    def __repr__(self) -> str:
        return f"Owner(state {self.state}, uid {self.uid}, inode {self.inode}, cgroup {self.cgroup})"


@final
class SockDiag:
    """Looks sockets up, in the network namespace and with the uids of where `sock` was opened: see `netlink.open_sock_diag`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.connect((0, 0))  # from now on the kernel alone is heard
        self._sock = sock
        self._sequence = getrandbits(31)
        self._drain()

    def connection(self, theirs: Place, ours: Place) -> Owner | None:
        """The socket whose own end is `theirs` and whose peer is `ours`; None: there is none, or the kernel did not say.

        It may be another than what was asked for: see `Owner.is_same`.
        """
        if theirs.family != ours.family:
            return None
        return self._ask(theirs.family, _PORTS.pack(theirs.port, ours.port) + theirs.address + ours.address)

    def listener(self, place: Place) -> Owner | None:
        """The listening socket that a connection to `place` would reach; None likewise."""
        found = self._ask(place.family, _PORTS.pack(place.port, 0) + place.address + _NO_ADDRESS)
        return found if found is not None and found.state == LISTEN else None

    def _ask(self, family: int, place: bytes) -> Owner | None:
        for _ in range(_TRIES):
            self._sequence = sequence = (self._sequence + 1) & 0xFFFFFFFF
            question = _QUESTION.pack(
                _QUESTION_OCTETS, _BY_FAMILY, _REQUEST, sequence, 0, family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF
            )
            try:
                self._sock.send(b"".join((question, place, _INTERFACE, _ANY_COOKIE)))
            except OSError:
                self._drain()
                continue
            answer = self._receive(sequence)
            if answer:
                return _read(answer, family, place)
            self._sequence = getrandbits(31)
        return None

    def _receive(self, sequence: int) -> bytes:
        """The kernel answers before `send` returns; empty when it did not, or another took it."""
        for _ in range(_MAX_STRAY):
            try:
                answer = self._sock.recv(4096)
            except OSError:  # nothing there, or answers were lost
                return b""
            if len(answer) >= 16 and _SEQUENCE.unpack_from(answer, 8)[0] == sequence:
                return answer
        return b""

    def _drain(self) -> None:
        """Answers to questions that were not ours: of who had this descriptor before, or has it too."""
        try:
            while self._sock.recv(4096):
                pass
        except OSError:
            return


def place_of(host: str, port: int) -> Place:
    """Of an address literal, as `accept` and `getsockname` give it. Raises OSError for what is none."""
    if ":" not in host:
        return Place(socket.AF_INET, socket.inet_pton(socket.AF_INET, host) + _NO_ADDRESS[4:], port)
    address = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if address.startswith(_MAPPED):
        return Place(socket.AF_INET, address[12:] + _NO_ADDRESS[4:], port)
    return Place(socket.AF_INET6, address, port)


def _read(answer: bytes, asked: int, place: bytes) -> Owner | None:
    if len(answer) < _ATTRIBUTES:
        return None  # an error: nearly always ENOENT
    length, kind, _flags, _sequence, _port, family, state, _timer, _retransmits = _ANSWER.unpack_from(answer)
    if kind != _BY_FAMILY or length > len(answer):
        return None
    cookie, uid, inode = _OWNER.unpack_from(answer, _OWNER_AT)
    cgroup = 0
    at = _ATTRIBUTES
    while at + 4 <= length:
        size, name = _ATTRIBUTE.unpack_from(answer, at)
        if name & 0x3FFF == _CGROUP_ID and size == 12 and at + 12 <= length:
            cgroup = _ID.unpack_from(answer, at + 4)[0]
        if size < 4:
            break
        at += (size + 3) & ~3
    found = answer[_PLACE : _PLACE + 36]
    if family == socket.AF_INET6 and found[4:16] == _MAPPED and found[20:32] == _MAPPED:
        family = socket.AF_INET
        found = found[:4] + found[16:20] + _NO_ADDRESS[4:] + found[32:36] + _NO_ADDRESS[4:]
    return Owner(state, uid, inode, cgroup, cookie, family == asked and found == place)
