"""An exchange that changes its protocol: asked for like any request, and a two-way tunnel once the endpoint agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from tulle.core.verdict import Deny
from tulle.http.fields import CRLF
from tulle.http.h2.field import Field
from tulle.http.head import ResponseHead
from tulle.http.trace_context import TRACEPARENT
from tulle.http.upgrade import ACCEPT, KEY, WEBSOCKET, chosen_protocol, connect_fields, upgrade_request
from tulle.http.websocket import CloseWatch, accept_of, code_label, new_key
from tulle.proxy.arrival import Connection, Opaque
from tulle.proxy.counters import CLOSED, RESET
from tulle.proxy.judging import judge_head
from tulle.proxy.stream import NO_TRAILERS
from tulle.wire.reason import Reason

if TYPE_CHECKING:
    from tulle.proxy.exchange import Exchange


@final
class Upgrade(Opaque):
    """What an exchange asks to become, and became. Until `is_switched` nothing of the caller's goes on but its head."""

    def __init__(self, exchange: Exchange, offered: bytes) -> None:
        self.exchange = exchange
        self.offered = offered
        """Protocols, separated by `, `."""
        self.is_switched = False
        self.label = ""
        """`websocket` or `upgrade`, once switched."""
        self.code = ""
        """Of a WebSocket that ended: the close code, see `code_label`."""
        self.closed_by = ""
        """`caller` or `endpoint`: whose close frame came first; empty: nobody's."""
        self._key = b""
        """Sec-WebSocket-Key that the endpoint is asked with; empty: none, or not yet."""
        self._early: list[bytes] = []
        """What an HTTP/2 caller sent before the answer; its window bounds it."""
        self._ends_early = False
        self._caller_done = False
        self._endpoint_done = False
        self._from_caller: CloseWatch | None = None
        self._from_endpoint: CloseWatch | None = None
        self._connection: Connection | None = None

    def request(self) -> bytes:
        """The head for an endpoint that speaks HTTP/1.1, whole."""
        exchange = self.exchange
        judged = exchange.judged
        head = judged.head
        extra = b""
        if self.offered == WEBSOCKET:
            key = self._key
            if head.protocol:
                key = new_key()
                extra = KEY + b": " + key + CRLF
            elif not key:
                key = head.value(KEY) or b""
            self._key = key
        if head.request_id is None:
            extra += b"x-request-id: " + exchange.id_octets + CRLF
        if not head.is_traced and exchange.traceparent:
            extra += b"traceparent: " + exchange.traceparent + CRLF
        return upgrade_request(head, self.offered, judged.target, extra)

    def fields(self) -> list[Field]:
        """The head for an endpoint that speaks HTTP/2."""
        exchange = self.exchange
        store = exchange.relay.fields
        head = exchange.judged.head
        fields = connect_fields(head, self.protocol, exchange.judged.target, store)
        if head.request_id is None:
            fields.append(store.field(b"x-request-id", exchange.id_octets))
        if not head.is_traced and exchange.traceparent:
            fields.append(store.field(TRACEPARENT, exchange.traceparent))
        return fields

    @property
    def protocol(self) -> bytes:
        """The one that an extended CONNECT asks for."""
        return self.offered.partition(b", ")[0].lower()

    @property
    def fits_connect(self) -> bool:
        """Whether extended CONNECT can ask for it: its method is not the caller's to choose."""
        return self.exchange.judged.head.method in ("GET", "CONNECT")

    def proof(self) -> bytes:
        """Sec-WebSocket-Accept for a caller of HTTP/1.1; empty: it sent no key, or means no WebSocket."""
        value = self.exchange.judged.head.value(KEY) if self.offered == WEBSOCKET else None
        return accept_of(value) if value is not None else b""

    def accepted(self, head: ResponseHead) -> bytes:
        """The protocol to which the endpoint's 101 changes; empty: it proves no change that was asked for."""
        protocol = chosen_protocol(head, self.offered)
        if protocol == WEBSOCKET and (not self._key or head.value(ACCEPT) != accept_of(self._key)):
            return b""
        return protocol

    def hold(self, payload: list[bytes], done: bool) -> None:
        """What the caller sends before the answer: kept for the tunnel, dropped when there will be none."""
        if self.exchange.status == 0:
            self._early.extend(payload)
            self._ends_early = done
            self.exchange.caller.pause_request()

    def switch(self, protocol: bytes, head: ResponseHead) -> None:
        """The endpoint agrees: tells the caller, and carries octets from now on."""
        exchange = self.exchange
        caller = exchange.caller.switch(self, protocol, head)
        if caller is None:
            exchange.answer(Reason.BAD_REQUEST)
            return
        exchange.caller = caller
        exchange.status = 200 if caller.is_http2 else 101
        exchange.request_done = False
        self.is_switched = True
        if self._early or self._ends_early:
            early = self._early
            self._early = []
            self.from_caller(early, self._ends_early)
        caller.resume_request()

    def belong(self, connection: Connection, protocol: bytes) -> None:
        """From now on it is judged with the connection by which it came."""
        self._connection = connection
        self.label = "upgrade"
        if protocol == WEBSOCKET:
            self.label = "websocket"
            self._from_caller = CloseWatch()
            self._from_endpoint = CloseWatch()
        connection.carry(self)

    def from_caller(self, payload: list[bytes], done: bool) -> None:
        """Octets from the caller, and perhaps the end of its half."""
        exchange = self.exchange
        if exchange.is_over:
            return
        watch = self._from_caller
        for piece in payload:
            exchange.bytes_in += len(piece)
            if watch is not None:
                self._from_caller = self._look(watch, piece, "caller")
        end = exchange.endpoint_end
        if end is not None:
            end.transmit(payload, done, NO_TRAILERS)
        if done:
            exchange.request_done = True
            self._caller_done = True
            self._end_if_done()

    def from_endpoint(self, payload: list[bytes], done: bool) -> None:
        """Octets from the endpoint, and perhaps the end of its half."""
        exchange = self.exchange
        if exchange.is_over:
            return
        watch = self._from_endpoint
        for piece in payload:
            exchange.bytes_out += len(piece)
            if watch is not None:
                self._from_endpoint = self._look(watch, piece, "endpoint")
        if not exchange.caller.deliver(None, b"", payload, done, NO_TRAILERS):
            end = exchange.endpoint_end
            if end is not None and not done:
                end.pause_answer()
        if done:
            self._endpoint_done = True
            self._end_if_done()

    def lose(self, reason: Reason | None) -> None:
        """One side broke, or may go on no longer (`reason`): the other learns it by a reset."""
        exchange = self.exchange
        if exchange.is_over:
            return
        if reason is not None:
            lane = exchange.lane
            exchange.reason = reason
            exchange.relay.counters.answer(lane.source, lane.destination, reason.code)
        exchange.finish(RESET)
        exchange.caller.break_off()

    def on_over(self) -> None:
        """The exchange has ended: what is counted of a close is counted."""
        connection = self._connection
        if connection is not None:
            connection.put_down(self)
        if self.label != "websocket":
            return
        if not self.code:
            self.code = code_label(-1)
        exchange = self.exchange
        lane = exchange.lane
        backend = exchange.backend
        exchange.relay.counters.close_websocket(
            lane.source, lane.destination, backend.version if backend is not None else "", self.code, self.closed_by
        )

    def judge_again(self) -> None:
        exchange = self.exchange
        relay = exchange.relay
        connection = self._connection
        if exchange.is_over or connection is None or exchange.lane.tables is relay.tables:
            return
        lane = relay.lane_again(connection.arrival, exchange.lane)
        judged = judge_head(relay, lane, exchange.judged.head)
        if judged.refusal is not None:
            self.lose(judged.refusal)
            return
        exchange.lane = lane
        verdict = judged.verdict
        if isinstance(verdict, Deny) and not lane.tables.shadow:
            exchange.policy = verdict.by or ""
            relay.counters.deny(lane.source, lane.destination, exchange.policy, verdict.reason.code, False)
            self.lose(verdict.reason)

    def cut(self, reason: Reason) -> None:
        self.lose(reason)

    def _look(self, watch: CloseWatch, piece: bytes, by: str) -> CloseWatch | None:
        """Reads on until a close frame was seen."""
        watch.read(piece)
        if not watch.is_seen:
            return watch
        if not self.code:
            self.code = code_label(watch.code)
            self.closed_by = by
        return None

    def _end_if_done(self) -> None:
        exchange = self.exchange
        if self._caller_done and self._endpoint_done and not exchange.is_over:
            exchange.finish(CLOSED)
            exchange.caller.end_tunnel()
