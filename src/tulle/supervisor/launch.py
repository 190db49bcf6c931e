"""Makes one pod: namespaces, network, listeners; then pid 1 in it.

fork → the middle process makes the namespaces, forks pid 1, which waits, makes the network and the listener, before any code of
the service runs, hands all of it to the supervisor and ends, so that the supervisor (a subreaper) is pid 1's parent.
"""

import errno
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tulle.kit import namespaces, netlink, privileges
from tulle.supervisor import init, words
from tulle.supervisor.addresses import open_and_tell, open_listener
from tulle.supervisor.fork import fork
from tulle.supervisor.steps import StepFailed, step
from tulle.wire.plan import ADDRESSES, AUTO, LISTENER_PORT, REDIRECT, VIRTUAL_NETWORK

if TYPE_CHECKING:
    from tulle.supervisor.container import Container

_NO_REDIRECT = frozenset(
    (
        *(errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL),  # a part of nftables is missing
        *(errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EAFNOSUPPORT),  # all of it
        *(errno.EPERM, errno.EACCES),  # a sandbox around Tulle keeps it away
    )
)
_KINDS = (
    namespaces.NEWNET
    | namespaces.NEWNS
    | namespaces.NEWIPC
    | namespaces.NEWUTS
    | namespaces.NEWPID
    | namespaces.NEWCGROUP
)


class Dialling(NamedTuple):
    """How a pod is to reach the mesh."""

    way: str = AUTO
    addresses: Sequence[str] = ()
    """`127.80.x.y:port`, each given a listener where there is no redirect."""


class Order(NamedTuple):
    """A pod to be made."""

    service: init.Service
    dialling: Dialling | None
    """None: it is not isolated, and lives in the box's network."""
    container: "Container | None" = None


def launch(order: Order, link: socket.socket) -> int:
    """Carries it out in a child of this process, and returns its pid; what it makes comes by the other end of `link`."""
    parent = os.getpid()
    service = order.service
    return fork(lambda: carry_out(order, link, parent), (link.fileno(), service.stdout, service.stderr))


def carry_out(order: Order, link: socket.socket, parent: int) -> None:
    """In a child of `parent`: makes the pod and ends, or, for what is not isolated, stays as its keeper."""
    service = order.service
    privileges.die_with(parent, signal.SIGKILL if order.dialling else signal.SIGTERM)
    os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), 0)
    os.dup2(service.stdout, 1)
    os.dup2(service.stderr, 2)
    if order.dialling is None:
        init.run(service, link)
    elif order.container:
        _make_container(service, order.container, link, order.dialling)
    else:
        _make_pod(link, order.dialling, _KINDS, lambda: init.run(service, link))


def _make_container(service: init.Service, container: "Container", link: socket.socket, dialling: Dialling) -> None:
    """Finds the image and the volumes first."""
    from tulle.supervisor import container_init
    from tulle.supervisor.container import make_ready

    try:
        ready = make_ready(container, link)
    except StepFailed as fault:
        words.send(link, words.IMPOSSIBLE, fault.step, fault.why)
        return
    # Its cgroup is named from the box's root, so it stays in the box's cgroup namespace until the runtime makes it one.
    kinds = _KINDS & ~namespaces.NEWCGROUP
    _make_pod(link, dialling, kinds, lambda: container_init.run(service, container, ready, link))


def make_network(way: str) -> tuple[int, socket.socket, str]:
    """Makes this process's new network a pod's; returns the namespace, the listener and the way. Raises StepFailed."""
    with step("loopback"):
        netlink.bring_loopback_up()
    with step("ports"):
        netlink.free_low_ports()
    with step("redirect"):
        way = _redirect(way)
    with step("listener"):
        listener = open_listener(f"127.0.0.1:{LISTENER_PORT}")
        return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC), listener, way


def _redirect(way: str) -> str:
    if way != ADDRESSES:
        try:
            netlink.redirect_tcp(VIRTUAL_NETWORK, LISTENER_PORT)
        except OSError as fault:
            if way == REDIRECT or fault.errno not in _NO_REDIRECT:
                raise
        else:
            return REDIRECT
    return ADDRESSES


def _make_pod(link: socket.socket, dialling: Dialling, kinds: int, run: Callable[[], object]) -> None:
    try:
        with step("namespaces"):
            namespaces.unshare(kinds)
        with step("init"):
            pid = os.fork()  # before the network is made: what that writes to memory would stay with pid 1
    except StepFailed as fault:
        words.send(link, words.IMPOSSIBLE, fault.step, fault.why)
        return
    if pid == 0:
        run()
        os._exit(0)
    try:
        network, listener, way = make_network(dialling.way)
    except StepFailed as fault:
        words.send(link, words.IMPOSSIBLE, fault.step, fault.why)
        os.kill(pid, signal.SIGKILL)
        return
    words.send(link, words.MADE, str(pid), way, descriptors=(network, listener.fileno()))
    if way == ADDRESSES:
        for address in dialling.addresses:
            open_and_tell(link, address)
