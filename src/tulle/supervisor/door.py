"""Doors: ports of the host, all its addresses of both families, that lead into the mesh."""

import errno
import os
import socket
from collections.abc import Callable

from tulle.kit.listen import listen_at_port
from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.holder import holder_of
from tulle.supervisor.loop import Loop, Timer
from tulle.wire.plan import DoorState, DoorStatus, blame

_RETRY_SECONDS = 2.0


class Doors:
    """Opens what the plan names, closes what it no longer names, and tries again what is taken."""

    def __init__(self, loop: Loop, proxy: ProxyLink, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._loop = loop
        self._proxy = proxy
        self._say = say
        self._changed = changed
        self._wanted: set[int] = set()
        self._open: set[int] = set()
        self._faults: dict[int, DoorStatus] = {}
        self._timer: Timer | None = None

    @property
    def statuses(self) -> list[DoorStatus]:
        """Of every port wanted, by number."""
        return [self._faults.get(port) or DoorStatus(port, DoorState.OPEN) for port in sorted(self._wanted)]

    def want(self, ports: list[int]) -> None:
        """Exactly these ports shall be open."""
        self._wanted = set(ports)
        for port in self._open - self._wanted:
            self._proxy.gone(str(port))
        self._open &= self._wanted
        self._faults = {port: fault for port, fault in self._faults.items() if port in self._wanted}
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
            self._proxy.door(port, listener)
            if self._faults.pop(port, None):
                self._say(f"port {port} is open now")
                self._changed()
        if self._wanted - self._open:
            self._timer = self._loop.later(_RETRY_SECONDS, self._try)

    def _complain(self, port: int, fault: OSError) -> None:
        before = self._faults.get(port)
        if before and before.why == os.strerror(fault.errno or 0):
            return  # once is enough, and looking for the holder is not free
        found = self._faults[port] = describe_fault(port, fault)
        remedy = "; ports below net.ipv4.ip_unprivileged_port_start need root" if fault.errno == errno.EACCES else ""
        if found.state is DoorState.TAKEN:
            remedy = " (ss -ltnp)"
        why = blame(found.why, found.holder or ("another program" if found.state is DoorState.TAKEN else ""))
        self._say(f"cannot open port {port}: {why}{remedy}. Trying again every {_RETRY_SECONDS:g} s")
        self._changed()


def describe_fault(port: int, fault: OSError) -> DoorStatus:
    """Why a port cannot be opened, and who has it."""
    is_taken = fault.errno == errno.EADDRINUSE
    why = os.strerror(fault.errno) if fault.errno else str(fault)
    return DoorStatus(
        port, DoorState.TAKEN if is_taken else DoorState.REFUSED, why, holder_of(port) if is_taken else ""
    )


def open_door(port: int) -> socket.socket:
    """A listener on every address of the host; of IPv4 alone where there is no IPv6."""
    try:
        return listen_at_port("::", port, socket.AF_INET6)
    except OSError as fault:
        if fault.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return listen_at_port("0.0.0.0", port)  # noqa: S104  (a door is open to all by its meaning)
