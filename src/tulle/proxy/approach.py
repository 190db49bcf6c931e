"""Connections to endpoints in pods: a socket of the broker's, connected there; both families, the last good one first."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Final, final

from tulle.core.backends import EndpointRef
from tulle.proxy.broker import BrokerClient, Question
from tulle.proxy.connecting import connect_now
from tulle.proxy.loop import Dispatcher
from tulle.proxy.wheel import Alarm

LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}

Arrive = Callable[[socket.socket | None], None]
Await = Callable[[socket.socket, tuple[str, int], float, Arrive], None]
"""Waits for an attempt that is under way, so many seconds; then says how it ended. Closes what fails."""


@final
class PodDialer:
    """Reaches pods' endpoints, without a task where nothing is waited for but the broker."""

    def __init__(self, dispatcher: Dispatcher, broker: BrokerClient, wait: Await) -> None:
        self.dispatcher = dispatcher
        self.broker = broker
        self.wait = wait
        self.families: dict[EndpointRef, int] = {}
        """On which loopback an endpoint answered."""
        self._approaches: dict[PodApproach, bool] = {}
        """Those under way, the oldest first: where the time they are given became shorter, those that came since wait for it."""
        self._is_alarmed = False

    def dial(self, endpoint: EndpointRef, arrive: Arrive, seconds: float) -> None:
        """Calls `arrive` with a connected socket, or None after so many seconds; perhaps before it returns."""
        approach = PodApproach(self, endpoint, arrive, self.dispatcher.now + seconds)
        self._approaches[approach] = True
        self._watch()
        approach.begin()

    def keep_only(self, endpoints: set[EndpointRef]) -> None:
        """Forgets what was learnt about others."""
        for known in list(self.families):
            if known not in endpoints:
                del self.families[known]

    def end(self, approach: PodApproach) -> None:
        """It is over. Idempotent."""
        self._approaches.pop(approach, None)

    def _watch(self) -> None:
        """Rings when the oldest is overdue."""
        if not self._is_alarmed:
            for oldest in self._approaches:
                self._is_alarmed = True
                self.dispatcher.soon(Alarm(oldest.until, self._ring), oldest.until)
                return

    def _ring(self, now: float) -> None:
        self._is_alarmed = False
        overdue: list[PodApproach] = []
        for approach in self._approaches:
            if approach.until > now:
                break
            overdue.append(approach)
        for approach in overdue:
            approach.expire()
        self._watch()


@final
class PodApproach(Question):
    """One connection to an endpoint in a pod, being made."""

    def __init__(self, dialer: PodDialer, endpoint: EndpointRef, arrive: Arrive, until: float) -> None:
        super().__init__()
        self.until = until
        self._dialer = dialer
        self._endpoint = endpoint
        self._arrive: Arrive | None = arrive
        """None: it is over."""
        self._first = dialer.families.get(endpoint, 4)

    def begin(self) -> None:
        """Asks for a socket of the family that is likely."""
        self._dialer.broker.ask(self, self._endpoint.pod, self._first)

    def on_made(self, sock: socket.socket | None) -> None:
        if sock is None or self._arrive is None:
            if sock is not None:
                sock.close()
            self._end(None)
            return
        dialer = self._dialer
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = (LOOPBACK[self.family], self._endpoint.port)
        state = connect_now(sock, address)
        if state == 0:
            self._on_connected(sock)
        elif state == errno.EALREADY:
            dialer.wait(sock, address, max(0.0, self.until - dialer.dispatcher.now), self._on_connected)
        else:
            sock.close()
            self._on_connected(None)

    def expire(self) -> None:
        """It took too long."""
        self._dialer.broker.forget(self)
        self._end(None)

    def _on_connected(self, sock: socket.socket | None) -> None:
        if self._arrive is None:
            if sock is not None:
                sock.close()
        elif sock is not None:
            self._dialer.families[self._endpoint] = self.family
            self._end(sock)
        elif self.family == self._first:
            self._dialer.broker.ask(self, self._endpoint.pod, 10 - self._first)
        else:
            self._end(None)

    def _end(self, sock: socket.socket | None) -> None:
        arrive = self._arrive
        self._arrive = None
        self._dialer.end(self)
        if arrive is None:
            return
        try:
            arrive(sock)
        except Exception:  # noqa: BLE001  (one defect must not keep the others waiting)
            self._dialer.dispatcher.defect(None)
