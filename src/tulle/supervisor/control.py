"""The agent's line: plans and orders come in, reports go out.

A plan is taken by a callback of its own, so that one that the box refuses is tried again, in its newest version.
"""

import socket
from collections.abc import Callable

from tulle.supervisor.loop import Loop
from tulle.wire.plan import Plan, Report, decode_plan, encode
from tulle.wire.upgrade import Proxies, Upgrade, decode_upgrade

_PLAN_BYTES = 64 << 20


class AgentLink:
    """Speaks with the agent of the moment; a new one is told the state at once."""

    def __init__(
        self,
        loop: Loop,
        take: Callable[[Plan], None],
        upgrade: Callable[[Upgrade], None],
        say: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._take = take
        self._upgrade = upgrade
        self._say = say
        self._link: socket.socket | None = None
        self._heard = bytearray()
        self._unsent = b""
        self._next: bytes | None = None
        self._plan: Plan | None = None
        """To be taken."""

    def connect(self) -> socket.socket:
        """The end for a new agent. To be closed once passed."""
        self._disconnect()
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._link.setblocking(False)
        self._loop.read(self._link.fileno(), self._hear)
        return theirs

    def tell(self, report: Report, proxies: Proxies) -> None:
        """What is not yet sent of older reports is left out."""
        self._next = encode(proxies) + encode(report)
        self._flush()

    def _flush(self) -> None:
        while self._link:
            if not self._unsent:
                if self._next is None:
                    self._loop.write(self._link.fileno(), None)
                    return
                self._unsent, self._next = self._next, None
            try:
                self._unsent = self._unsent[self._link.send(self._unsent) :]
            except BlockingIOError:
                self._loop.write(self._link.fileno(), self._flush)
                return
            except OSError:
                self._disconnect()

    def _hear(self) -> None:
        if self._link is None:
            return
        try:
            text = self._link.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            text = b""
        self._heard += text
        if not text or len(self._heard) > _PLAN_BYTES:
            self._disconnect()
            return
        while (end := self._heard.find(b"\n")) >= 0:
            line = bytes(self._heard[:end])
            del self._heard[: end + 1]
            self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            order = decode_upgrade(line)
            if order:
                self._upgrade(order)
                return
            plan = decode_plan(line)
        except (ValueError, TypeError, KeyError) as fault:
            self._say(f"the agent sent what is not a plan, and the last one stays: {fault}")
            return
        if self._plan is None:
            self._loop.later(0, self._take_newest)
        self._plan = plan

    def _take_newest(self) -> None:
        if self._plan:
            self._take(self._plan)
            self._plan = None

    def _disconnect(self) -> None:
        self._heard.clear()
        self._unsent = b""
        if self._link:
            self._loop.forget(self._link.fileno())
            self._link.close()
            self._link = None
