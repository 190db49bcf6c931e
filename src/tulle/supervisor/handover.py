"""Tells the proxy what exists, with descriptors; all of it again for each new proxy."""

import socket
from collections import deque

from tulle.supervisor.loop import Loop
from tulle.wire.plan import Handover, encode


class ProxyLink:
    """What the proxy has been, or would have to be, told."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._link: socket.socket | None = None
        self._queue: deque[tuple[bytes, socket.socket | None]] = deque()
        self._pods: dict[str, socket.socket] = {}
        self._addresses: dict[str, dict[str, socket.socket]] = {}
        self._ready: set[str] = set()
        self._doors: dict[str, socket.socket] = {}
        self._let_go: list[socket.socket] = []
        """Closed once what is queued about them is sent: to tell of a listener takes no descriptor besides its own."""

    def connect(self) -> socket.socket:
        """The end for a new proxy; everything is queued for it, and `synced` after that. To be closed once passed."""
        self._disconnect()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._link = ours
        self._loop.read(ours.fileno(), self._hear)
        for name, listener in self._doors.items():
            self._tell("door", name, listener)
        for name, listener in self._pods.items():
            self._tell("pod", name, listener)
            for address, one in self._addresses.get(name, {}).items():
                self._tell("address", f"{name}@{address}", one)
            if name in self._ready:
                self._tell("ready", name)
        self._tell("synced", "")
        return theirs

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

    def broker_forked_again(self) -> None:
        """What the broker had been asked may be lost with it."""
        self._tell("broker", "")

    def _close_addresses(self, pod: str) -> None:
        for listener in self._addresses.pop(pod, {}).values():
            self._close(listener)

    def _close(self, listener: socket.socket) -> None:
        if any(one is listener for _, one in self._queue):
            self._let_go.append(listener)
        else:
            listener.close()

    def _tell(self, kind: str, name: str, listener: socket.socket | None = None) -> None:
        if self._link is None:
            return
        self._queue.append((encode(Handover(kind, name)), listener))
        self._flush()

    def _flush(self) -> None:
        while self._queue and self._link:
            message, listener = self._queue[0]
            try:
                socket.send_fds(self._link, [message], [listener.fileno()] if listener else [])
            except BlockingIOError:
                self._loop.write(self._link.fileno(), self._flush)
                return
            except OSError:
                self._disconnect()
                return
            self._queue.popleft()
            if listener in self._let_go:
                self._let_go.remove(listener)
                self._close(listener)
        if self._link:
            self._loop.write(self._link.fileno(), None)

    def _hear(self) -> None:
        """The proxy says nothing here but that it has ended."""
        if self._link is None:
            return
        try:
            said = self._link.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._disconnect()

    def _disconnect(self) -> None:
        self._queue.clear()
        for listener in self._let_go:
            listener.close()
        self._let_go.clear()
        if self._link:
            self._loop.forget(self._link.fileno())
            self._link.close()
            self._link = None
