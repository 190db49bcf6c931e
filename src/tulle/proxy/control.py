"""What the supervisor hands over: listeners in pods, doors, and which pods are ready."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from tulle.core.tables import Tables
from tulle.proxy.arrival import Register
from tulle.proxy.attest import Attestor, Welcome
from tulle.proxy.listen import Listener
from tulle.proxy.loop import READ, Dispatcher, Foremost
from tulle.proxy.relay import Relay
from tulle.proxy.tcp import Dial
from tulle.wire.plan import Handover, encode

LOOK = encode(Handover("look", ""))
Key = TypeVar("Key", int, str)


class Listeners:
    """The listening sockets that this proxy accepts from, by name, and the readiness of pods."""

    def __init__(
        self,
        relay: Relay,
        register: Register,
        dial: Dial,
        ask_again: Callable[[], None],
        opened: Callable[[], None],
    ) -> None:
        self.pods: dict[str, Listener] = {}
        self.addresses: dict[str, dict[str, Listener]] = {}
        """By pod, then by `127.80.x.y:port`: listeners at virtual addresses, where the kernel does not redirect."""
        self.doors: dict[int, Listener] = {}
        self.hosts: dict[str, Listener] = {}
        """By `127.80.x.y:port`, on the box itself."""
        self.forwards: dict[str, Listener] = {}
        """By address: the forward proxy's. Without an attestor its callers are anonymous."""
        self.attestor: Attestor | None = None
        """Says who calls there; without, nothing is accepted there."""
        self.ready: set[str] = set()
        self.is_synced = False
        self._relay = relay
        self._register = register
        self._dial = dial
        self._ask_again = ask_again
        """Of the broker that was forked again."""
        self._opened = opened
        """Called once: it accepts from now on."""
        self._is_open = False
        self._is_closed = False

    def take(self, kind: str, name: str, sock: socket.socket | None) -> None:
        """One Handover. What replaces a listener of the same name closes the old one."""
        if sock is not None and self._is_closed:
            sock.close()  # it is another proxy's matter now
            return
        if kind == "pod" and sock is not None:
            self.ready.discard(name)
            self._drop_addresses(name)
            self._replace(self.pods, name, Listener(self._relay, self._register, self._dial, sock, name, 0))
        elif kind == "address" and sock is not None:
            pod, _, address = name.partition("@")
            host, port = sock.getsockname()
            listener = Listener(self._relay, self._register, self._dial, sock, pod, 0, (host, port))
            self._replace(self.addresses.setdefault(pod, {}), address, listener)
        elif kind == "no-address":
            pod, _, address = name.partition("@")
            self._drop(self.addresses.get(pod, {}), address)
        elif kind == "door" and sock is not None:
            port = int(name)
            self._replace(self.doors, port, Listener(self._relay, self._register, self._dial, sock, "", port))
        elif kind == "door":
            self._drop(self.doors, int(name))
        elif kind == "host" and sock is not None and self.attestor is not None:
            host, port = sock.getsockname()
            listener = Listener(self._relay, self._register, self._dial, sock, "", 0, (host, port), self.attestor)
            self._replace(self.hosts, name, listener)
        elif kind == "no-host":
            self._drop(self.hosts, name)
        elif kind == "forward" and sock is not None and sock.family == socket.AF_UNIX:
            listener = Listener(self._relay, self._register, self._dial, sock, "", 0, None, None, True, self._peers())
            self._replace(self.forwards, name, listener)
        elif kind == "forward" and sock is not None:
            host, port = sock.getsockname()[:2]
            listener = Listener(self._relay, self._register, self._dial, sock, "", 0, (host, port), self.attestor, True)
            self._replace(self.forwards, name, listener)
        elif kind == "no-forward":
            self._drop(self.forwards, name)
        elif kind == "ready":
            self.ready.add(name)
        elif kind == "unready":
            self.ready.discard(name)
        elif kind == "gone":
            self.ready.discard(name)
            self._drop(self.pods, name)
            self._drop_addresses(name)
            if name.isdecimal():
                self._drop(self.doors, int(name))
        elif kind == "broker":
            self._ask_again()
        elif kind == "synced":
            self.is_synced = True
            self.open()
        else:
            raise ValueError(f"kind {kind!r} is not known, or lacks its descriptor")
        if kind in ("pod", "ready", "unready", "gone") and self._relay.tables is not None:
            self.mark_ready(self._relay.tables, name)

    def _peers(self) -> Callable[[socket.socket, Welcome], None] | None:
        """Says who calls at a path."""
        from tulle.proxy.peers import Peers

        return Peers(self.attestor).attest if self.attestor is not None else None

    def mark_ready(self, tables: Tables, pod: str | None = None) -> None:
        """Tells endpoints in pods whether they are ready: those of one pod, or all."""
        for name in tables.pods if pod is None else (pod,):
            for endpoint in tables.pods.get(name, ()):
                endpoint.ready = name in self.ready

    @property
    def waits_for_snapshot(self) -> bool:
        """Nothing else is lacking."""
        return self.is_synced and self._relay.tables is None

    def open(self) -> None:
        """Accepts from all of them, once there is a snapshot and it is known which pods are ready."""
        if self._relay.tables is not None and self.is_synced and not self._is_closed:
            for listener in self._all():
                listener.open()
            if not self._is_open:
                self._is_open = True
                self._opened()

    def close(self) -> None:
        """Accepts no longer."""
        self._is_closed = True
        if self.attestor is not None:
            self.attestor.settle()
        for listener in self._all():
            listener.close()

    def _all(self) -> Iterator[Listener]:
        yield from self.pods.values()
        for listeners in self.addresses.values():
            yield from listeners.values()
        yield from self.hosts.values()
        yield from self.forwards.values()
        yield from self.doors.values()

    def _drop_addresses(self, pod: str) -> None:
        for listener in self.addresses.pop(pod, {}).values():
            listener.close()

    def _replace(self, table: dict[Key, Listener], key: Key, listener: Listener) -> None:
        self._drop(table, key)
        table[key] = listener
        self.open()

    def _drop(self, table: dict[Key, Listener], key: Key) -> None:
        old = table.pop(key, None)
        if old is not None:
            old.close()


class Successors(Protocol):
    """Who is told when proxies take each other's place."""

    def retire(self, seconds: float, link: socket.socket | None) -> None:
        """Another one serves, and hears by `link` what was counted here."""

    def inherit(self, link: socket.socket | None) -> None:
        """This one serves, and hears by `link` what was counted before; by none: nothing, or nobody knows."""


class Control:
    """Reads the supervisor's datagrams before the callers' requests: who was told that a pod is ready finds it so."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        link: socket.socket,
        listeners: Listeners,
        succession: Successors,
        on_supervisor_gone: Callable[[], None],
        report: Callable[[str], None],
    ) -> None:
        link.setblocking(False)
        self._dispatcher = dispatcher
        self._link = Foremost(link, self._read)
        self._listeners = listeners
        self._succession = succession
        self._on_supervisor_gone = on_supervisor_gone
        self._report = report

    def start(self) -> None:
        """Takes handovers from now on."""
        self._dispatcher.watch(self._link, READ)

    def say(self, kind: str, name: str) -> None:
        """One word to the supervisor. One for which there is no room is lost, with the supervisor."""
        with contextlib.suppress(OSError):
            self._link.sock.send(encode(Handover(kind, name)))

    def ask_to_look(self) -> bool:
        """Has the supervisor look at the control groups of what is attached. False: there is no room to ask."""
        try:
            self._link.sock.send(LOOK)
        except OSError:
            return False
        return True

    def _learn(self, said: dict[str, Any]) -> bool:
        """A fact about attached workloads; False: it is none."""
        if said["kind"] not in ("attached", "detached", "looked"):
            return False
        attestor = self._listeners.attestor
        if attestor is not None:
            cgroups = said.get("cgroups")
            groups = None if cgroups is None else [int(one) for one in cgroups]
            attestor.take(said["kind"], str(said["name"]), int(said.get("uid", -1)), groups)
        return True

    def _read(self) -> None:
        self._dispatcher.wake()  # what is told may schedule something with asyncio
        while self._link.is_open:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._link.sock, 65536, 4)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            sockets = [socket.socket(fileno=one) for one in descriptors]
            if not message:
                self._dispatcher.close(self._link)
                self._on_supervisor_gone()
                return
            try:
                said = json.loads(message)
                if self._learn(said):
                    continue
                self._take(str(said["kind"]), str(said["name"]), sockets.pop(0) if sockets else None)
            except (ValueError, KeyError, TypeError) as fault:
                self._report(f"the supervisor said what it should not: {fault}")
            for one in sockets:
                one.close()

    def _take(self, kind: str, name: str, sock: socket.socket | None) -> None:
        if kind == "retire":
            self._succession.retire(float(name), sock)
        elif kind == "inherit":
            self._succession.inherit(sock)
        else:
            self._listeners.take(kind, name, sock)
        if kind == "synced" and self._listeners.waits_for_snapshot:
            self.say("waits", "a snapshot")
