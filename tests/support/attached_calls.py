"""Requests of a real process of some user, one after the other until it is told to end, each with its answer."""

import socket
import threading
from collections import Counter

from tests.support.attached import Actor
from tests.support.attached_mesh import State

PAUSE_SECONDS = 0.01
BROKEN = 0
"""Instead of a status: the connection was refused, or ended before the answer."""


class Calls:
    """One client. `kept`: on one connection as long as the answers let it be kept."""

    def __init__(self, actor: Actor, name: str, address: tuple[str, int], request: bytes, *, kept: bool) -> None:
        self.name = name
        self._actor = actor
        self._ended: Counter[int] | None = None
        actor.run(_begin, name, address, request, kept)

    def answers(self) -> Counter[int]:
        """How often each status came, so far."""
        if self._ended is not None:
            return self._ended
        found: Counter[int] = self._actor.run(_said, self.name)
        return found

    def answered(self) -> int:
        """Requests that were, so far."""
        said = self.answers()
        return said.total() - said[BROKEN]

    def end(self) -> Counter[int]:
        """The same, when it has ended."""
        if self._ended is None:
            self._actor.run(_end, self.name)
            self._ended = self._actor.run(_said, self.name)
        return self._ended


class _Caller(threading.Thread):
    def __init__(self, address: tuple[str, int], request: bytes, kept: bool) -> None:
        super().__init__(daemon=True)
        self.said: Counter[int] = Counter()
        self.is_over = threading.Event()
        self._address = address
        self._request = request
        self._kept = kept
        self._sock: socket.socket | None = None

    def run(self) -> None:
        while not self.is_over.wait(PAUSE_SECONDS):
            try:
                status = self._ask()
            except OSError:
                status = BROKEN
            if status == BROKEN:
                self._close()
            self.said[status] += 1
        self._close()

    def _ask(self) -> int:
        if self._sock is None:
            self._sock = socket.create_connection(self._address, timeout=20)
        self._sock.sendall(self._request)
        head, body = b"", b""
        while b"\r\n\r\n" not in head:
            octets = self._sock.recv(65536)
            if not octets:
                return BROKEN
            head += octets
        head, _, body = head.lower().partition(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
        while len(body) < length:
            octets = self._sock.recv(65536)
            if not octets:
                return BROKEN
            body += octets
        if not self._kept or b"connection: close" in head:
            self._close()
        return int(head.split()[1])

    def _close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _begin(state: State, name: str, address: tuple[str, int], request: bytes, kept: bool) -> None:
    state[name] = _Caller(address, request, kept)
    state[name].start()


def _said(state: State, name: str) -> Counter[int]:
    return Counter(state[name].said)


def _end(state: State, name: str) -> None:
    state[name].is_over.set()
    state[name].join()
