"""How attached workloads reach the mesh: a listener at each virtual address of the box, and the forward proxy's, one at a path.

A program that listens on every address at a service's port is in the way of its virtual address there; that is said with
who it is and what helps, and tried again. The forward proxy leads to the same services.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Callable

from tulle.kit.listen import listen_at_path, listen_at_port
from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.holder import MESH, holders_of
from tulle.supervisor.loop import Loop, Timer
from tulle.wire.plan import FORWARD_PORT, AddressStatus, DoorState, blame

RETRY_SECONDS = 5.0
FORWARD = {f"127.0.0.1:{FORWARD_PORT}": "127.0.0.1", f"[::1]:{FORWARD_PORT}": "::1"}
"""Address as it is shown → host."""
_PATH_REMEDY = (
    "Remove what lies there; where the path is too long, or cannot be made, name another by TULLE_RUNTIME_DIR. Until then attached"
    f" services use the forward proxy, http://127.0.0.1:{FORWARD_PORT}"
)
_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class Loopback:
    """Opens on the box what the plan names, closes what it no longer names, and tries again what is taken."""

    def __init__(
        self, loop: Loop, proxy: ProxyLink, say: Callable[[str], None], changed: Callable[[], None], path: str
    ) -> None:
        self._path = path
        """Where the forward proxy's socket is to lie."""
        _remove(path)  # one that was killed has left it
        self._loop = loop
        self._proxy = proxy
        self._say = say
        self._changed = changed
        self._wanted: list[str] = []
        self._open: set[str] = set()
        self._faults: dict[str, AddressStatus] = {}
        self._timer: Timer | None = None

    @property
    def statuses(self) -> list[AddressStatus]:
        """Of what is not open, in order."""
        return [self._faults[one] for one in self._wanted if one in self._faults]

    def want(self, addresses: list[str]) -> None:
        """Exactly these virtual addresses, `127.80.x.y:port`, and the forward proxy with any."""
        self._wanted = [*FORWARD, self._path, *addresses] if addresses else []
        wanted = set(self._wanted)
        for address in self._open - wanted:
            (self._proxy.no_forward if _is_forward(address) else self._proxy.no_host)(address)
            if address == self._path:
                _remove(address)
        self._open &= wanted
        self._faults = {address: fault for address, fault in self._faults.items() if address in wanted}
        self._try()

    def _try(self) -> None:
        if self._timer:
            self._timer.cancel()
        before = self._faults
        refused = {address: fault for address in self._wanted if (fault := self._refusal(address))}
        news = {address: fault for address, fault in refused.items() if _is_news(fault, before.get(address))}
        taken = {address for address, fault in news.items() if fault.errno == errno.EADDRINUSE} - {self._path}
        holders = holders_of({_port(address) for address in taken})
        described = {address: describe(address, fault, holders) for address, fault in news.items()}
        self._faults = {address: described.get(address) or before[address] for address in refused}
        if self._faults != before:
            self._tell_of(described)
        if any(fault.state is DoorState.TAKEN or address == self._path for address, fault in self._faults.items()):
            self._timer = self._loop.later(RETRY_SECONDS, self._try)

    def _refusal(self, address: str) -> OSError | None:
        """Opens it, if it is not open; why that cannot be."""
        if address in self._open:
            return None
        try:
            listener = _listen(address)
        except OSError as fault:
            if address not in FORWARD or fault.errno not in _NO_SUCH_FAMILY:
                return fault
            self._open.add(address)  # a box without IPv6 has nobody who would dial it
            return None
        self._open.add(address)
        (self._proxy.forward if _is_forward(address) else self._proxy.host)(address, listener)
        if address in self._faults:
            self._say(f"{address} is open now")
        return None

    def _tell_of(self, news: dict[str, AddressStatus]) -> None:
        """Once for each cause: a thousand services may stand on one port."""
        causes: dict[tuple[str, str, str], list[str]] = {}
        for address, fault in news.items():
            causes.setdefault((address.rpartition(":")[2], fault.why, fault.holder), []).append(address)
        for (port, why, holder), addresses in causes.items():
            others = f" and {len(addresses) - 1} more at port {port}" if len(addresses) > 1 else ""
            self._say(f"cannot listen at {addresses[0]}{others}: {blame(why, holder)}. {news[addresses[0]].remedy}")
        self._changed()


def describe(address: str, fault: OSError, holders: dict[int, str]) -> AddressStatus:
    """Why there is no listener, who is in the way, and what helps. `holders` by port."""
    is_taken = fault.errno == errno.EADDRINUSE
    why = _words(fault)
    if address.startswith("/"):
        return AddressStatus(address, DoorState.REFUSED, why, "", _PATH_REMEDY)
    state = DoorState.TAKEN if is_taken else DoorState.REFUSED
    holder = holders.get(_port(address), "") if is_taken else ""
    return AddressStatus(address, state, why, holder, _remedy(address, is_taken, holder))


def _is_news(fault: OSError, known: AddressStatus | None) -> bool:
    return known is None or known.why != _words(fault)


def _words(fault: OSError) -> str:
    return os.strerror(fault.errno) if fault.errno else str(fault)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _remedy(address: str, is_taken: bool, holder: str) -> str:
    if holder.startswith(MESH):
        return (
            "One mesh of a box has the forward proxy: what is attached to this one reaches it by virtual addresses only"
            if address in FORWARD
            else "Another mesh of this box has a service of this name: rename one, or attach in one of the meshes only"
        )
    if address in FORWARD:
        return (
            "Let that program listen elsewhere; until then attached services reach the mesh by virtual addresses only"
        )
    if is_taken:
        return (
            "Let that program listen on 127.0.0.1 or another address instead of every one; until then attached services"
            f" reach this service by the forward proxy, http://127.0.0.1:{FORWARD_PORT}"
        )
    return (
        "Ports below net.ipv4.ip_unprivileged_port_start need root; attached services reach this one by the forward"
        f" proxy, http://127.0.0.1:{FORWARD_PORT}, or at another port"
    )


def _is_forward(address: str) -> bool:
    return address in FORWARD or address.startswith("/")


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _listen(address: str) -> socket.socket:
    if address.startswith("/"):
        return listen_at_path(address, is_for_all=True)
    if host := FORWARD.get(address):
        return listen_at_port(host, FORWARD_PORT, socket.AF_INET6 if ":" in host else socket.AF_INET)
    host, _, port = address.partition(":")
    return listen_at_port(host, int(port))
