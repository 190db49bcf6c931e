"""Reaches endpoints: in pods by the broker's sockets, elsewhere by address or name; both families, the last good one first."""

import asyncio
import concurrent.futures.thread  # noqa: F401  (now: once it has changed its user, the proxy may not read where Python lies)
import contextlib
import errno
import socket
import time

from tulle.core.backends import EndpointRef
from tulle.proxy.approach import Arrive, PodDialer
from tulle.proxy.attached import AttachedDialer
from tulle.proxy.broker import BrokerClient
from tulle.proxy.connecting import connect_now, new_socket
from tulle.proxy.loop import Dispatcher

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
RESOLVED_SECONDS = 5.0
"""How long a resolved name is used again."""
MAX_RESOLVED = 256


class Dialer:
    """Connects; a task for each connection that is not there at once, none for requests."""

    def __init__(self, dispatcher: Dispatcher, broker: BrokerClient, tasks: asyncio.TaskGroup) -> None:
        self.connect_timeout = 2.0
        self.attached: AttachedDialer | None = None
        """Reaches what is attached; without, nothing does."""
        self._dispatcher = dispatcher
        self._pods = PodDialer(dispatcher, broker, self._await)
        self._tasks = tasks
        self._addresses: dict[EndpointRef, tuple[int, str] | None] = {}
        """(family, address) of endpoints named by an IP literal; None: by a name."""
        self._resolved: dict[str, tuple[float, list[tuple[int, str]]]] = {}

    def dial(self, endpoint: EndpointRef, arrive: Arrive) -> None:
        """Calls `arrive` with a connected socket, or None; perhaps before it returns."""
        if endpoint.is_attached:
            if self.attached is not None:
                self.attached.dial(endpoint, arrive)
            else:
                arrive(None)
            return
        if endpoint.pod:
            self._pods.dial(endpoint, arrive, self.connect_timeout)
            return
        literal = self._literal(endpoint)
        if literal is not None:
            family, address = literal
            try:
                sock = new_socket(FAMILIES[family])
            except OSError:  # no descriptor left
                arrive(None)
                return
            state = connect_now(sock, (address, endpoint.port))
            if state == 0:
                arrive(sock)
            elif state == errno.EALREADY:
                self._await(sock, (address, endpoint.port), self.connect_timeout, arrive)
            else:
                sock.close()
                arrive(None)
            return
        self._dispatcher.wake()
        self._tasks.create_task(self._dial(endpoint, arrive))

    def keep_only(self, endpoints: set[EndpointRef]) -> None:
        """Forgets what was learnt about others."""
        if self.attached is not None:
            self.attached.keep_only(endpoints)
        self._pods.keep_only(endpoints)
        for named in list(self._addresses):
            if named not in endpoints:
                del self._addresses[named]

    async def _dial(self, endpoint: EndpointRef, arrive: Arrive) -> None:
        sock: socket.socket | None = None
        try:
            async with asyncio.timeout(self.connect_timeout):
                sock = await self._dial_name(endpoint)
        except (OSError, TimeoutError, UnicodeError):  # UnicodeError: the host cannot be a name
            sock = None
        self._give(sock, arrive)

    def _await(self, sock: socket.socket, address: tuple[str, int], seconds: float, arrive: Arrive) -> None:
        self._dispatcher.wake()
        self._tasks.create_task(self._wait(sock, address, seconds, arrive))

    async def _wait(self, sock: socket.socket, address: tuple[str, int], seconds: float, arrive: Arrive) -> None:
        try:
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().sock_connect(sock, address)
        except (OSError, TimeoutError):
            sock.close()
            self._give(None, arrive)
            return
        self._give(sock, arrive)

    def _give(self, sock: socket.socket | None, arrive: Arrive) -> None:
        self._dispatcher.enter()
        try:
            arrive(sock)
        except Exception:  # noqa: BLE001  (likewise)
            self._dispatcher.defect(None)

    async def _dial_name(self, endpoint: EndpointRef) -> socket.socket:
        fault: OSError = ConnectionRefusedError()
        for family, address in await self._resolve(endpoint.host):
            sock = new_socket(FAMILIES[family])
            try:
                await _connect(sock, (address, endpoint.port))
            except OSError as refused:
                fault = refused
                continue
            return sock
        raise fault

    async def _resolve(self, name: str) -> list[tuple[int, str]]:
        known = self._resolved.get(name)
        now = time.monotonic()
        if known is not None and known[0] > now:
            return known[1]
        answers = await asyncio.get_running_loop().getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
        addresses = [(6 if answer[0] == socket.AF_INET6 else 4, str(answer[4][0])) for answer in answers]
        if len(self._resolved) >= MAX_RESOLVED:
            self._resolved.clear()
        self._resolved[name] = (now + RESOLVED_SECONDS, addresses)
        return addresses

    def _literal(self, endpoint: EndpointRef) -> tuple[int, str] | None:
        if endpoint not in self._addresses:
            self._addresses[endpoint] = _address(endpoint.host.strip("[]"))
        return self._addresses[endpoint]


def _address(text: str) -> tuple[int, str] | None:
    """What text is an IP address; by the C library, since `ipaddress` weighs 0.3 MB."""
    for number, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        with contextlib.suppress(OSError, ValueError):
            return number, socket.inet_ntop(family, socket.inet_pton(family, text))
    return None


async def _connect(sock: socket.socket, address: tuple[str, int]) -> None:
    """Closes the socket when it fails."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = connect_now(sock, address)
        if error == errno.EALREADY:
            await asyncio.get_running_loop().sock_connect(sock, address)
        elif error:
            raise OSError(error, "connect failed")
    except BaseException:
        sock.close()
        raise
