"""Doors: ports of the host, all its addresses of both families, that lead into the mesh."""

import errno
import socket
from collections.abc import Callable

from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.loop import Loop, Timer

_BACKLOG = 4096
_RETRY_SECONDS = 2.0


class Doors:
    """Opens what the plan names, closes what it no longer names, and tries again what is taken."""

    def __init__(self, loop: Loop, proxy: ProxyLink, say: Callable[[str], None]) -> None:
        self._loop = loop
        self._proxy = proxy
        self._say = say
        self._wanted: set[int] = set()
        self._open: set[int] = set()
        self._complained: set[int] = set()
        self._timer: Timer | None = None

    def want(self, ports: list[int]) -> None:
        """Exactly these ports shall be open."""
        self._wanted = set(ports)
        for port in self._open - self._wanted:
            self._proxy.gone(str(port))
        self._open &= self._wanted
        self._complained &= self._wanted
        self._try()

    def _try(self) -> None:
        if self._timer:
            self._timer.cancel()
        for port in sorted(self._wanted - self._open):
            try:
                listener = open_door(port)
            except OSError as fault:
                self._complain(port, fault)
                continue
            self._open.add(port)
            self._complained.discard(port)
            self._proxy.door(port, listener)
        if self._wanted - self._open:
            self._timer = self._loop.later(_RETRY_SECONDS, self._try)

    def _complain(self, port: int, fault: OSError) -> None:
        if port in self._complained:
            return
        self._complained.add(port)
        remedy = ""
        if fault.errno == errno.EACCES:
            remedy = "; ports below net.ipv4.ip_unprivileged_port_start need root"
        elif fault.errno == errno.EADDRINUSE:
            remedy = "; another program listens there (ss -ltnp)"
        self._say(f"cannot open port {port}: {fault.strerror}{remedy}. Trying again every {_RETRY_SECONDS:g} s")


def open_door(port: int) -> socket.socket:
    """A listener on every address of the host; of IPv4 alone where there is no IPv6."""
    try:
        return _listen(socket.AF_INET6, "::", port)
    except OSError as fault:
        if fault.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _listen(socket.AF_INET, "0.0.0.0", port)  # noqa: S104  (a door is open to all by its meaning)


def _listen(family: int, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
