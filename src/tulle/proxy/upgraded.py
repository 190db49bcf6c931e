"""The two ends of a tunnel that are HTTP/1.1 connections no longer: octets as they come, with half-close."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from tulle.http.head import ResponseHead
from tulle.proxy.arrival import Connection
from tulle.proxy.counters import CLOSED
from tulle.proxy.relay import Relay
from tulle.proxy.stream import CallerEnd, EndpointEnd, Trailers
from tulle.proxy.upgrade import Upgrade
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason

if TYPE_CHECKING:
    from tulle.proxy.exchange import Exchange


@final
class UpgradedCaller(CallerEnd):
    """The caller's connection. Its deadline is the tunnel's: whatever moves in either direction puts it off."""

    def __init__(self, relay: Relay, connection: Connection, wire: Wire, upgrade: Upgrade) -> None:
        super().__init__()
        self.is_http2 = False
        self._relay = relay
        self._connection = connection
        self._wire = wire
        self._upgrade: Upgrade | None = upgrade
        """None once it is over: its exchange holds this end."""
        self._note_progress()
        wire.pass_to(self)

    def on_octets(self, octets: bytes) -> None:
        self._note_progress()
        if self._upgrade is not None:
            self._upgrade.from_caller([octets], False)

    def on_end(self) -> None:
        self._note_progress()
        if self._upgrade is not None:
            self._upgrade.from_caller([], True)

    def on_lost(self) -> None:
        _break(self._wire, self._upgrade, None)

    def on_defect(self) -> None:
        _break(self._wire, self._upgrade, Reason.INTERNAL)

    def on_drained(self) -> None:
        self._note_progress()
        if self._upgrade is not None:
            self._upgrade.exchange.resume_endpoint()

    def on_deadline(self, now: float) -> None:
        _break(self._wire, self._upgrade, Reason.UPSTREAM_TIMEOUT)

    def inform(self, head: ResponseHead) -> None:
        """Never: there is no answer any more."""

    def deliver(
        self, head: ResponseHead | None, wire: bytes, payload: list[bytes], done: bool, trailers: Trailers
    ) -> bool:
        self._note_progress()
        is_sent = True
        if payload:
            is_sent = self._wire.write(payload[0] if len(payload) == 1 else b"".join(payload))
        if done:
            self._wire.shut()
        return is_sent

    def answer(self, reason: Reason, request_id: str) -> None:
        self.break_off()

    def break_off(self) -> None:
        self._upgrade = None
        self.deadline = NEVER
        self._connection.closed()
        self._wire.reset()

    def end_tunnel(self) -> None:
        self._upgrade = None
        self._note_progress()
        self._connection.closed()
        self._wire.finish()

    def switch(self, upgrade: Upgrade, protocol: bytes, head: ResponseHead) -> CallerEnd | None:
        return None

    def pause_request(self) -> None:
        self._wire.pause()

    def resume_request(self) -> None:
        self._wire.resume()

    def close_when_idle(self) -> None:
        """A tunnel has no pause in which to end: it goes on until it does, or until the drain's deadline."""

    def cut(self, reason: Reason) -> None:
        if self._upgrade is not None:
            self._upgrade.lose(reason)

    def _note_progress(self) -> None:
        self.deadline = self._relay.dispatcher.now + self._relay.idle_timeout


@final
class UpgradedEndpoint(EndpointEnd):
    """The endpoint's connection; nobody else's request ever goes over it."""

    def __init__(self, relay: Relay, wire: Wire, upgrade: Upgrade) -> None:
        super().__init__()
        self.was_used = False
        self.keeps_request = False
        self._relay = relay
        self._wire = wire
        self._upgrade = upgrade
        wire.pass_to(self)

    def on_octets(self, octets: bytes) -> None:
        self._upgrade.from_endpoint([octets], False)

    def on_end(self) -> None:
        self._upgrade.from_endpoint([], True)

    def on_lost(self) -> None:
        _break(self._wire, self._upgrade, None)

    def on_defect(self) -> None:
        _break(self._wire, self._upgrade, Reason.INTERNAL)

    def on_drained(self) -> None:
        self._upgrade.exchange.caller.resume_request()

    def on_deadline(self, now: float) -> None:
        self._wire.reset()

    def begin(self, exchange: Exchange, payload: list[bytes], done: bool, trailers: Trailers) -> bool:
        return False

    def transmit(self, payload: list[bytes], done: bool, trailers: Trailers) -> None:
        if payload and not self._wire.write(payload[0] if len(payload) == 1 else b"".join(payload)) and not done:
            self._upgrade.exchange.caller.pause_request()
        if done:
            self._wire.shut()

    def pause_answer(self) -> None:
        self._wire.pause()

    def resume_answer(self) -> None:
        self._wire.resume()

    def abandon(self) -> None:
        relay = self._relay
        relay.counters.upstreams -= 1
        if self._upgrade.exchange.response_class == CLOSED:
            self.deadline = relay.dispatcher.now + relay.idle_timeout
            self._wire.finish()
        else:
            self.deadline = NEVER
            self._wire.reset()


def _break(wire: Wire, upgrade: Upgrade | None, reason: Reason | None) -> None:
    """A side's connection is of no use any more: the tunnel is lost, or where it is over already what was left to send is."""
    if upgrade is None or upgrade.exchange.is_over:
        wire.reset()
    else:
        upgrade.lose(reason)
