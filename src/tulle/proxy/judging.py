"""Judges request heads: what depends on the head alone is decided here, once for those that repeat."""

from __future__ import annotations

from typing import Final, final

from tulle.core.authorize import judge, judge_connection
from tulle.core.request import RequestView, canonical_path
from tulle.core.route import match_route
from tulle.core.verdict import Allow, Deny
from tulle.http.h2.encoder import Known
from tulle.http.h2.sending import asked_fields
from tulle.http.head import RequestHead
from tulle.http.upgrade import offered_protocols
from tulle.proxy.grpc import protocol_of
from tulle.proxy.judged import Judged
from tulle.proxy.known_heads import MAX_REMEMBERED_HEAD
from tulle.proxy.lane import Decision, Lane
from tulle.proxy.relay import Relay
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Protocol

_NO_HEADERS: Final[list[tuple[bytes, bytes]]] = []
_NOT_ASKED: Final = Allow(None)


def judge_head(relay: Relay, lane: Lane, head: RequestHead) -> Judged:
    """Decides all that depends on the head alone."""
    port = lane.port
    if port is None:
        return refuse_head(lane, head, Reason.NO_SERVICE)
    if lane.is_forward and port.protocol is Protocol.TCP:
        opaque = judge(port, lane.caller, None)
        if isinstance(opaque, Deny) and not lane.tables.shadow:
            return _deny(lane, head, opaque)
        return refuse_head(lane, head, Reason.UNSUPPORTED)
    if head.protocol and not offered_protocols(head):
        return refuse_head(lane, head, Reason.UNSUPPORTED)
    protocol = protocol_of(head)
    is_remembered = head.going is not None and not head.protocol
    if is_remembered:
        known = lane.decisions.get((head.method, head.target, head.authority, protocol))
        if known is not None:
            return Judged(head, None, known.verdict, known.route, known.target, known.pairs, protocol, known.asked)
    if head.going is None:
        decided = lane.by_path.get((head.method, head.path, head.authority))
        if decided is not None:
            judged = Judged(head, None, decided.verdict, decided.route, b"", decided.pairs, protocol)
            judged.is_by_path = True
            return judged
    readings = canonical_path(head.path)
    host = relay.heads.host(head.host) if head.host else ""
    if readings is None or host is None:
        return refuse_head(lane, head, Reason.BAD_REQUEST)
    path, folded = readings
    view = HeadView(head, path, folded, host)
    verdict = judge(port, lane.caller, view)
    route = match_route(port, view)
    target = b""
    if head.path != path:
        target = path.encode("ascii")
        if head.query:
            target += b"?" + head.query.encode("ascii")
    elif not head.path and head.query:
        target = b"/?" + head.query.encode("ascii")
    pairs = lane.pairs_of(route, protocol)
    if view.are_read or len(head.target) > MAX_REMEMBERED_HEAD:
        return Judged(head, None, verdict, route, target, pairs, protocol)
    if head.going is None and head.path and not target and relay.heads.appears_again(head.path):
        lane.by_path[head.method, head.path, head.authority] = Decision(verdict, route, target, pairs, None)
    if not is_remembered:
        return Judged(head, None, verdict, route, target, pairs, protocol)
    asked = Known(asked_fields(head, relay.fields, target))
    if relay.heads.appears_again(head.target):
        lane.decisions[head.method, head.target, head.authority, protocol] = Decision(
            verdict, route, target, pairs, asked
        )
    return Judged(head, None, verdict, route, target, pairs, protocol, asked)


def judge_connect(relay: Relay, lane: Lane, head: RequestHead) -> Judged | None:
    """Decides whether CONNECT is refused; None: a tunnel may be opened, and what is said in it is judged as if the address were dialled."""
    port = lane.port
    refusal: Reason | None = None
    if port is None:
        refusal = Reason.NO_SERVICE
    elif relay.is_draining:
        refusal = Reason.DRAINING
    elif relay.is_overloaded():
        refusal = Reason.OVERLOADED
    else:
        verdict = judge_connection(port, lane.caller)
        if isinstance(verdict, Deny) and not lane.tables.shadow:
            return _deny(lane, head, verdict)
        if port.protocol is Protocol.TCP:
            if not port.opaque.backends:
                refusal = Reason.NO_BACKEND
            elif not any(one.ready for backend in port.opaque.backends for one in backend.endpoints):
                refusal = Reason.NO_HEALTHY_ENDPOINT
    return refuse_head(lane, head, refusal) if refusal is not None else None


def refuse_head(lane: Lane, head: RequestHead, refusal: Reason) -> Judged:
    """Refused before any policy was asked."""
    protocol = protocol_of(head)
    return Judged(head, refusal, _NOT_ASKED, None, b"", lane.pairs_of(None, protocol), protocol)


def _deny(lane: Lane, head: RequestHead, denial: Deny) -> Judged:
    """Denied whatever it asks for."""
    protocol = protocol_of(head)
    return Judged(head, None, denial, None, b"", lane.pairs_of(None, protocol), protocol)


@final
class HeadView(RequestView):
    """What decisions see of a head; its fields are read when one asks for them.

    An extended CONNECT is a GET to them: what a policy says of a WebSocket holds whichever HTTP asks for it.
    """

    def __init__(self, head: RequestHead, path: str, folded: str, host: str) -> None:
        super().__init__(head.method if not head.protocol else "GET", path, folded, host, _NO_HEADERS)
        self._head = head
        self.are_read = False
        """A decision asked for a field."""

    def header(self, name: bytes) -> bytes | None:
        if not self.are_read:
            self.are_read = True
            named = self._head.named
            self.headers = [field for field in self._head.fields if field[0] not in named]
        return super().header(name)
