"""Tells proxies what exists, with descriptors; all of it again for each new one."""

import json
import socket
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tulle.supervisor.loop import Loop
from tulle.wire.plan import Handover, encode


class _News(NamedTuple):
    message: bytes
    descriptor: socket.socket | None
    is_given: bool = False
    """The descriptor is the proxy's alone: closed here once it is sent, or cannot be."""


class ProxyLink:
    """What a proxy has been, or would have to be, told; the same for all that run."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lines: list[Line] = []
        self._pods: dict[str, socket.socket] = {}
        self._addresses: dict[str, dict[str, socket.socket]] = {}
        self._ready: set[str] = set()
        self._doors: dict[str, socket.socket] = {}
        self._attached: dict[str, tuple[int, list[int] | None]] = {}
        self._loopback: dict[tuple[str, str], socket.socket] = {}
        """`host` and `forward` listeners, by kind and address."""
        self._let_go: list[socket.socket] = []
        """Closed once what is queued about them is sent: to tell of a listener takes no descriptor besides its own."""

    def line(self, hear: Callable[[Handover], object]) -> "Line":
        """For one more proxy. `hear` is told what it says."""
        line = Line(self._loop, self, hear)
        self._lines.append(line)
        return line

    def drop(self, line: "Line") -> None:
        """No proxy comes here any more."""
        line.disconnect()
        self._lines.remove(line)

    def pod(self, name: str, listener: socket.socket) -> None:
        """A pod's listener exists, or another in its stead. It is kept open here until the pod is gone or replaced."""
        self._ready.discard(name)
        if old := self._pods.get(name):
            self._close(old)
        self._close_addresses(name)
        self._pods[name] = listener
        self._tell("pod", name, listener)

    def address(self, pod: str, address: str, listener: socket.socket) -> None:
        """A listener exists at a virtual address in a pod. Kept open as the pod's own is."""
        self._addresses.setdefault(pod, {})[address] = listener
        self._tell("address", f"{pod}@{address}", listener)

    def no_address(self, pod: str, address: str) -> None:
        """Nothing is to be reached at a virtual address in a pod any more."""
        if listener := self._addresses.get(pod, {}).pop(address, None):
            self._tell("no-address", f"{pod}@{address}")
            self._close(listener)

    def ready(self, name: str) -> None:
        """The service takes connections."""
        self._ready.add(name)
        self._tell("ready", name)

    def unready(self, name: str) -> None:
        """The service has ended or does not answer; it may come back."""
        if name in self._ready:
            self._ready.discard(name)
            self._tell("unready", name)

    def gone(self, name: str) -> None:
        """A pod or a door is no more."""
        self._ready.discard(name)
        self._close_addresses(name)
        listener = self._pods.pop(name, None) or self._doors.pop(name, None)
        if listener:
            self._close(listener)
            self._tell("gone", name)

    def door(self, port: int, listener: socket.socket) -> None:
        """A host port is open."""
        self._doors[str(port)] = listener
        self._tell("door", str(port), listener)

    def attached(self, name: str, uid: int, cgroups: list[int] | None) -> None:
        """Sockets of this user, in these control groups, are this workload's from now on."""
        self._attached[name] = uid, cgroups
        self._tell("attached", name, uid=uid, cgroups=cgroups)

    def detached(self, name: str) -> None:
        """No socket is this workload's any more."""
        if self._attached.pop(name, None):
            self._tell("detached", name)

    def looked(self) -> None:
        """What a proxy asked to be looked at has been, and what was found is told."""
        self._tell("looked", "")

    def host(self, address: str, listener: socket.socket) -> None:
        """A listener exists at a virtual address of the box itself."""
        self._open("host", address, listener)

    def no_host(self, address: str) -> None:
        """Nothing is to be reached at a virtual address of the box any more."""
        self._shut("host", address)

    def forward(self, address: str, listener: socket.socket) -> None:
        """The forward proxy's listener exists at an address of the box."""
        self._open("forward", address, listener)

    def no_forward(self, address: str) -> None:
        """There is no forward proxy there any more."""
        self._shut("forward", address)

    def broker_forked_again(self) -> None:
        """What the broker had been asked may be lost with it."""
        self._tell("broker", "")

    def tell_all(self, line: "Line") -> None:
        """Everything that exists, for a new proxy; `synced` after that."""
        for name, (uid, cgroups) in self._attached.items():
            line.tell("attached", name, uid=uid, cgroups=cgroups)
        for (kind, address), listener in self._loopback.items():
            line.tell(kind, address, listener)
        for name, listener in self._doors.items():
            line.tell("door", name, listener)
        for name, listener in self._pods.items():
            line.tell("pod", name, listener)
            for address, one in self._addresses.get(name, {}).items():
                line.tell("address", f"{name}@{address}", one)
            if name in self._ready:
                line.tell("ready", name)
        line.tell("synced", "")

    def sent(self) -> None:
        """Something was, or no longer is to be: closes what waited for that."""
        for listener in [one for one in self._let_go if not self._is_queued(one)]:
            self._let_go.remove(listener)
            listener.close()

    def _open(self, kind: str, address: str, listener: socket.socket) -> None:
        self._loopback[kind, address] = listener
        self._tell(kind, address, listener)

    def _shut(self, kind: str, address: str) -> None:
        if listener := self._loopback.pop((kind, address), None):
            self._tell(f"no-{kind}", address)
            self._close(listener)

    def _close_addresses(self, pod: str) -> None:
        for listener in self._addresses.pop(pod, {}).values():
            self._close(listener)

    def _close(self, listener: socket.socket) -> None:
        if self._is_queued(listener):
            self._let_go.append(listener)
        else:
            listener.close()

    def _is_queued(self, listener: socket.socket) -> bool:
        return any(line.has_queued(listener) for line in self._lines)

    def _tell(
        self,
        kind: str,
        name: str,
        listener: socket.socket | None = None,
        *,
        uid: int = -1,
        cgroups: list[int] | None = None,
    ) -> None:
        for line in self._lines:
            line.tell(kind, name, listener, uid=uid, cgroups=cgroups)


class Line:
    """The line of one proxy's place, whichever process is there."""

    def __init__(self, loop: Loop, book: ProxyLink, hear: Callable[[Handover], object]) -> None:
        self._loop = loop
        self._book = book
        self._hears = hear
        self._link: socket.socket | None = None
        self._queue: deque[_News] = deque()

    def connect(self) -> socket.socket:
        """The end for a new process; everything is queued for it. To be closed once passed."""
        self.disconnect()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._link = ours
        self._loop.read(ours.fileno(), self._hear)
        self._book.tell_all(self)
        return theirs

    def tell(
        self,
        kind: str,
        name: str,
        descriptor: socket.socket | None = None,
        *,
        gives: bool = False,
        uid: int = -1,
        cgroups: list[int] | None = None,
    ) -> None:
        """One fact, to this process alone. With `gives` the descriptor is closed here once it is passed."""
        news = _News(encode(Handover(kind, name, uid, cgroups)), descriptor, gives)
        if self._link is None:
            _let_go(news)
            return
        self._queue.append(news)
        self._flush()

    def has_queued(self, listener: socket.socket) -> bool:
        """Whether news of this listener still waits."""
        return any(news.descriptor is listener for news in self._queue)

    def disconnect(self) -> None:
        """Whoever listened has ended; what it was to be told is let go."""
        for news in self._queue:
            _let_go(news)
        self._queue.clear()
        self._book.sent()
        if self._link:
            self._loop.forget(self._link.fileno())
            self._link.close()
            self._link = None

    def _flush(self) -> None:
        while self._queue and self._link:
            news = self._queue[0]
            try:
                descriptors = [news.descriptor.fileno()] if news.descriptor else []
                socket.send_fds(self._link, [news.message], descriptors)
            except BlockingIOError:
                self._loop.write(self._link.fileno(), self._flush)
                return
            except OSError:
                self.disconnect()
                return
            _let_go(self._queue.popleft())
            self._book.sent()
        if self._link:
            self._loop.write(self._link.fileno(), None)

    def _hear(self) -> None:
        """What the proxy says, or that it has ended. What is not understood is left: it may be younger than this."""
        if self._link is None:
            return
        try:
            said = self._link.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self.disconnect()
            return
        try:
            raw = json.loads(said)
            heard = Handover(str(raw["kind"]), str(raw["name"]))
        except (ValueError, KeyError, TypeError):
            return
        self._hears(heard)


def _let_go(news: _News) -> None:
    if news.is_given and news.descriptor:
        news.descriptor.close()
