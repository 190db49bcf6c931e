"""Where the kernel cannot redirect: one listener in a pod for each virtual address and port that it may dial.

The process that makes a pod's network opens the first ones, before any code of the service runs. What a later plan
adds is opened by a child of the supervisor's that enters the networks one after the other, and ends.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable

from tulle.kit import namespaces, privileges
from tulle.kit.listen import listen_at_port
from tulle.supervisor import words
from tulle.supervisor.fork import fork
from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.loop import Loop, Timer

_PAUSE_SECONDS = 1.0
"""Before the rest is tried by another child, when one ended early."""


class Addresses:
    """Keeps a listener at each planned address in each pod that dials by addresses."""

    def __init__(self, loop: Loop, proxy: ProxyLink, changed: Callable[[], None], say: Callable[[str], None]) -> None:
        """`changed` is called when an address is taken in a pod, or no longer is."""
        self.wanted: list[str] = []
        """`127.80.x.y:port`, in order."""
        self._loop = loop
        self._proxy = proxy
        self._changed = changed
        self._say = say
        self._networks: dict[str, int] = {}
        self._open: dict[str, set[str]] = {}
        self._taken: dict[str, dict[str, str]] = {}
        self._link: socket.socket | None = None
        self._timer: Timer | None = None

    def want(self, addresses: Iterable[str]) -> None:
        """What the plan says now; pods follow it. What was taken is tried again."""
        self.wanted = sorted(set(addresses))
        for taken in self._taken.values():
            if taken:
                taken.clear()
                self._changed()
        self._follow()

    def add(self, pod: str, network: int) -> None:
        """A pod's network is there. The descriptor stays the caller's, until `remove`."""
        self._networks[pod], self._open[pod], self._taken[pod] = network, set(), {}

    def opened(self, pod: str, address: str, listener: socket.socket) -> None:
        """There is a listener at an address in a pod."""
        if pod not in self._networks or address in self._open[pod]:
            listener.close()
            return
        self._open[pod].add(address)
        self._proxy.address(pod, address, listener)

    def complete(self, pod: str) -> None:
        """All that the maker of the pod's network could open is open; the plan may have changed meanwhile."""
        if pod in self._networks:
            self._follow()

    def taken(self, pod: str, address: str, why: str) -> None:
        """No listener can be at an address in a pod."""
        if pod in self._networks:
            self._taken[pod][address] = why
            self._changed()

    def remove(self, pod: str) -> None:
        """The pod's network is let go. What waits at its listeners is the proxy's until the pod is gone or comes back."""
        for table in (self._networks, self._open, self._taken):
            table.pop(pod, None)

    def trouble(self, pod: str) -> str:
        """Which addresses are taken in a pod, and what to do; empty when none is."""
        taken = self._taken.get(pod)
        if not taken:
            return ""
        where = ", ".join(f"{address} ({why})" for address, why in sorted(taken.items()))
        return f"cannot be reached from here: {where}. {REMEDY}"

    def has_port(self, port: int) -> bool:
        """True when a service that listens at this port of every address collides."""
        return any(one.endswith(f":{port}") for one in self.wanted)

    def _follow(self) -> None:
        wanted = frozenset(self.wanted)
        for pod, there in self._open.items():
            for address in sorted(there - wanted):
                there.discard(address)
                self._proxy.no_address(pod, address)
        if self._link is None and (missing := self._missing()):
            try:
                self._start(missing)
            except OSError as fault:  # what a plan says besides must not wait for it
                self._say(f"addresses in pods cannot be opened ({fault}); trying again in {_PAUSE_SECONDS:g} s")
                self._follow_later()

    def _follow_later(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.later(_PAUSE_SECONDS, self._follow)

    def _missing(self) -> dict[str, list[str]]:
        missing = {
            pod: [one for one in self.wanted if one not in there and one not in self._taken[pod]]
            for pod, there in self._open.items()
        }
        return {pod: addresses for pod, addresses in missing.items() if addresses}

    def _start(self, missing: dict[str, list[str]]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        networks = {pod: self._networks[pod] for pod in missing}
        lives = {pod: self._open[pod] for pod in missing}
        parent = os.getpid()

        def run() -> None:
            privileges.die_with(parent)
            for pod, network in networks.items():
                namespaces.enter(network, namespaces.NEWNET)
                for address in missing[pod]:
                    open_and_tell(theirs, address, pod)

        try:
            with theirs:
                pid = fork(run, (theirs.fileno(), *networks.values()))
        except OSError:
            ours.close()
            raise
        self._link = ours
        self._loop.child(pid, lambda _status: None)
        self._loop.read(ours.fileno(), lambda: self._hear(lives))

    def _hear(self, lives: dict[str, set[str]]) -> None:
        while self._link:
            try:
                heard = words.receive(self._link)
            except BlockingIOError:
                return
            except (OSError, ValueError):
                heard = None
            if heard is None:
                self._loop.forget(self._link.fileno())
                self._link.close()
                self._link = None
                if self._missing():
                    self._follow_later()
                return
            (word, address, pod, *said), descriptors = heard
            is_same = self._open.get(pod) is lives[pod]  # not the network of a pod that came back meanwhile
            if word == words.ADDRESS and descriptors and is_same and address in self.wanted:
                self.opened(pod, address, socket.socket(fileno=descriptors.pop()))
            elif word == words.TAKEN and is_same:
                self.taken(pod, address, *said)
            for one in descriptors:
                os.close(one)


REMEDY = (
    "Let the service listen on 127.0.0.1 instead of every address, or at a port that no service of the mesh has; "
    "or load the kernel's nftables parts: modprobe -a nf_tables nft_chain_nat nft_redir"
)
"""Against a collision of a service with the virtual addresses."""


def open_and_tell(link: socket.socket, address: str, *about: str) -> None:
    """Opens a listener at `address:port` of this network and sends it, or why there is none."""
    try:
        with open_listener(address) as listener:
            words.send(link, words.ADDRESS, address, *about, descriptors=(listener.fileno(),))
    except OSError as fault:
        why = "the service listens at this port" if fault.errno == errno.EADDRINUSE else fault.strerror or str(fault)
        words.send(link, words.TAKEN, address, *about, why)


def open_listener(address: str) -> socket.socket:
    """Listens at `address:port` of this network. Raises OSError."""
    host, _, port = address.partition(":")
    return listen_at_port(host, int(port))
