"""Makes one pod: namespaces, network, listener; then pid 1 in it.

fork → the middle process makes the namespaces and the listener, before any code of the service runs, forks pid 1,
hands all of it to the supervisor and ends, so that the supervisor (a subreaper) is pid 1's parent.
"""

import os
import socket
from collections.abc import Callable

from tulle.kit import namespaces, netlink, privileges
from tulle.supervisor import init, words
from tulle.supervisor.fork import fork
from tulle.supervisor.steps import StepFailed, step

LISTENER_PORT = 15001
VIRTUAL_PREFIX = bytes([127, 80])
_BACKLOG = 4096
_KINDS = (
    namespaces.NEWNET
    | namespaces.NEWNS
    | namespaces.NEWIPC
    | namespaces.NEWUTS
    | namespaces.NEWPID
    | namespaces.NEWCGROUP
)


def launch_pod(service: init.Service, link: socket.socket) -> int:
    """Starts the middle process and returns its pid; what it made comes by the other end of `link`."""
    return _fork_with(service, link, lambda: _make_pod(service, link))


def launch_plain(service: init.Service, link: socket.socket) -> int:
    """Starts a service that is not isolated, and returns the pid of its keeper."""
    parent = os.getpid()

    def keep() -> None:
        privileges.die_with(parent, 15)
        init.run(service, link)

    return _fork_with(service, link, keep)


def make_network() -> tuple[int, socket.socket]:
    """Makes this process's new network a pod's, and returns the namespace and the listener. Raises StepFailed."""
    with step("loopback"):
        netlink.bring_loopback_up()
    with step("ports"):
        netlink.free_low_ports()
    with step("redirect"):
        netlink.redirect_tcp(VIRTUAL_PREFIX, LISTENER_PORT)
    with step("listener"):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        listener.bind(("127.0.0.1", LISTENER_PORT))
        listener.listen(_BACKLOG)
        return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC), listener


def _make_pod(service: init.Service, link: socket.socket) -> None:
    try:
        with step("namespaces"):
            namespaces.unshare(_KINDS)
        network, listener = make_network()
        with step("init"):
            pid = os.fork()
    except StepFailed as fault:
        words.send(link, words.IMPOSSIBLE, fault.step, fault.why)
        return
    if pid == 0:
        os.close(network)
        listener.close()
        init.run(service, link)
        os._exit(0)
    words.send(link, words.MADE, str(pid), descriptors=(network, listener.fileno()))


def _fork_with(service: init.Service, link: socket.socket, run: Callable[[], None]) -> int:
    parent = os.getpid()

    def child() -> None:
        if service.view is not None:
            privileges.die_with(parent)
        os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), 0)
        os.dup2(service.stdout, 1)
        os.dup2(service.stderr, 2)
        run()

    return fork(child, (link.fileno(), service.stdout, service.stderr))
