"""Makes sockets inside pods for the proxy: a forked process that walks from network to network.

It holds the pods' network namespaces and the one capability that entering them takes, lives in an empty network of
its own, and keeps no state: forked again, it is given the namespaces again. The proxy asks
`{"id": n, "pod": "ns/name", "family": 4|6}`; the answer carries the same id and a socket, or an error.
"""

import contextlib
import json
import os
import select
import socket
from collections.abc import Callable, Sequence

from tulle.kit import namespaces, privileges
from tulle.supervisor.fork import end
from tulle.supervisor.loop import Loop

_REQUEST_BYTES = 1024
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_PAUSE_SECONDS = 1.0
"""Before it is tried again to fork one, on a box that has no process or descriptor left."""
_POD, _GONE, _ALL = b"+", b"-", b"="

SEATS = 2
"""So many proxies may ask at once: the one that serves, and the one before it that drains."""


class Broker:
    """The supervisor's side: forks it, tells it of pods, forks it again when it ends."""

    def __init__(
        self,
        loop: Loop,
        fork: Callable[[socket.socket, Sequence[socket.socket]], int],
        say: Callable[[str], None],
        forked_again: Callable[[], None],
    ) -> None:
        """`fork`: makes a child that runs `serve` with these sockets, and returns its pid. Raises OSError."""
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(SEATS)]
        self.for_proxies = tuple(theirs for theirs, _ in pairs)
        """By seat: answers to one proxy do not reach another. Both ends stay here too: broker and proxy may each end without the
        other noticing."""
        self._requests = tuple(ours for _, ours in pairs)
        self.pid = 0
        """While there is one."""
        self._loop = loop
        self._fork = fork
        self._say = say
        self._forked_again = forked_again
        """Called when another one takes the place of one that ended: what that one had been asked may be lost."""
        self._networks: dict[str, int] = {}
        self._news: socket.socket | None = None
        self._stopping = False

    def start(self) -> None:
        """Forks it and tells it of every pod."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.pid = self._fork(theirs, self._requests)
        self._news = ours
        self._loop.child(self.pid, self._ended)
        for pod, network in self._networks.items():
            self._tell(_POD + pod.encode(), network)
        self._tell(_ALL)

    def add(self, pod: str, network: int) -> None:
        """From now on sockets are made in this namespace for `pod`. The descriptor stays the caller's."""
        self._networks[pod] = network
        self._tell(_POD + pod.encode(), network)

    def remove(self, pod: str) -> None:
        """The pod's network is let go."""
        if self._networks.pop(pod, None) is not None:
            self._tell(_GONE + pod.encode())

    def stop(self) -> None:
        """Ends it; returns once it is gone."""
        self._stopping = True
        if self._news:
            self._news.close()
            self._news = None
        if self.pid:
            end(self.pid)

    def _tell(self, news: bytes, *descriptors: int) -> None:
        if self._news:
            with contextlib.suppress(OSError):  # ended; the next one is told everything
                socket.send_fds(self._news, [news], list(descriptors))

    def _ended(self, _status: int) -> None:
        self.pid = 0
        if self._news:
            self._news.close()
            self._news = None
        if not self._stopping:
            self._say("the broker ended; forking another")
            self._fork_again()

    def _fork_again(self) -> None:
        if self._stopping:
            return
        try:
            self.start()
        except OSError as fault:  # what serves must not end for it
            self._say(f"the broker cannot be forked ({fault}); trying again in {_PAUSE_SECONDS:g} s")
            self._loop.later(_PAUSE_SECONDS, self._fork_again)
            return
        self._forked_again()


def serve(news: socket.socket, requests: Sequence[socket.socket]) -> None:
    """The broker itself. Ends when the supervisor closes `news`."""
    namespaces.unshare(namespaces.NEWNET)
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    privileges.bound_capabilities((privileges.CAP_SYS_ADMIN,))
    privileges.hold_capabilities((privileges.CAP_SYS_ADMIN,))
    privileges.refuse_new_privileges()
    privileges.hide_memory()
    for one in requests:
        one.setblocking(False)
    walker = _Walker(home)
    while not walker.knows_all:
        if not _learn(news, walker):
            return
    poll = select.poll()
    poll.register(news, select.POLLIN)
    for one in requests:
        poll.register(one, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if news.fileno() in ready:
            if not _learn(news, walker):
                return
            continue
        for one in requests:
            if one.fileno() in ready:
                _answer(one, walker)


class _Walker:
    def __init__(self, home: int) -> None:
        self.knows_all = False
        """Has been told of every pod there is; no question is answered before."""
        self._home = home
        self._networks: dict[str, int] = {}
        self._at = home

    def add(self, pod: str, network: int) -> None:
        self.remove(pod)
        self._networks[pod] = network

    def remove(self, pod: str) -> None:
        network = self._networks.pop(pod, None)
        if network is not None:
            if self._at == network:
                self._go(self._home)
            os.close(network)

    def make_socket(self, pod: str, family: int) -> socket.socket:
        """An unconnected TCP socket of that pod's network. Raises LookupError and OSError."""
        self._go(self._networks[pod])
        return socket.socket(_FAMILIES[family], socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def _go(self, network: int) -> None:
        if self._at != network:
            namespaces.enter(network, namespaces.NEWNET)
            self._at = network


def _learn(news: socket.socket, walker: _Walker) -> bool:
    message, descriptors, _, _ = socket.recv_fds(news, _REQUEST_BYTES, 1)
    pod = message[1:].decode()
    if message[:1] == _POD and descriptors:
        walker.add(pod, descriptors[0])
    elif message[:1] == _GONE:
        walker.remove(pod)
    elif message[:1] == _ALL:
        walker.knows_all = True
    return bool(message)


def _answer(requests: socket.socket, walker: _Walker) -> None:
    try:
        question = json.loads(requests.recv(_REQUEST_BYTES))
        number, pod, family = int(question["id"]), str(question["pod"]), int(question["family"])
    except (BlockingIOError, ConnectionError):
        return
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        _send(requests, {"error": "a request has id, pod and family"})
        return
    try:
        made = walker.make_socket(pod, family)
    except LookupError:
        _send(requests, {"id": number, "error": f"no pod {pod} runs, or family {family} is neither 4 nor 6"})
    except OSError as fault:
        _send(requests, {"id": number, "error": str(fault)})
    else:
        with made:
            _send(requests, {"id": number}, made.fileno())


def _send(requests: socket.socket, answer: dict[str, object], *descriptors: int) -> None:
    with contextlib.suppress(OSError):  # a proxy that reads nothing gets nothing
        socket.send_fds(requests, [json.dumps(answer).encode()], list(descriptors))
