"""A request head and all that was decided about it."""

from __future__ import annotations

from typing import Final, final

from tulle.core.backends import RouteTable
from tulle.core.verdict import Allow, Deny
from tulle.http.fields import CRLF
from tulle.http.h2.connection import Connection as Codec
from tulle.http.h2.encoder import Known
from tulle.http.h2.field import GRPC_TIMEOUT, Field, FieldStore, value_of
from tulle.http.h2.sending import asked_fields, told_fields
from tulle.http.h2.stream import Stream
from tulle.http.head import Limits, RequestHead
from tulle.http.request import END, parse_request
from tulle.http.upgrade import offered_protocols
from tulle.http.write import open_request
from tulle.proxy.counters import Pair
from tulle.proxy.grpc import MALFORMED, NO_TIMEOUT, timeout_of
from tulle.wire.reason import Reason

_NO_FIELDS: Final[list[Field]] = []
_NO_LIMITS: Final = Limits(1 << 30, 1 << 30, 1 << 30)


@final
class Judged:
    """A request head, all that was decided about it, and the head to send: a function of its octets, lane and generation."""

    __slots__ = (
        "_asked",
        "_known",
        "_told",
        "_wire",
        "head",
        "is_by_path",
        "is_grpc",
        "octets",
        "pairs",
        "protocol",
        "refusal",
        "route",
        "target",
        "timeout",
        "upgrade",
        "verdict",
    )

    def __init__(
        self,
        head: RequestHead,
        refusal: Reason | None,
        verdict: Allow | Deny,
        route: RouteTable | None,
        target: bytes,
        pairs: dict[str, Pair],
        protocol: str,
        asked: Known | None = None,
    ) -> None:
        self.head = head
        self.octets = b""
        """Of the head, where this is remembered for when they come again."""
        self.protocol = protocol
        """The label under which it is counted."""
        self.refusal = refusal
        """Why it is answered before anything is asked of policies."""
        self.verdict = verdict
        self.route = route
        self.target = target
        """In place of the one that came; empty: that one goes on."""
        self.pairs = pairs
        """By backend name: where this request is counted. Shared by those of one route and protocol."""
        self.upgrade = offered_protocols(head)
        """What the caller asks to change to and may, separated by `, `; empty: the request is served in HTTP."""
        self.is_by_path = False
        """It is known that nothing but its method, path and authority had a say."""
        self.is_grpc = protocol == "grpc"
        self.timeout = NO_TIMEOUT
        """Seconds that the caller waits (`grpc-timeout`); negative: it did not say."""
        self._wire = b""
        self._asked = asked
        self._told: list[Field] | None = None
        self._known: Known | None = None
        """All fields, once they have been sent before."""
        if self.is_grpc and head.going is not None:
            self.timeout = timeout_of(value_of(head.going, GRPC_TIMEOUT))
            if self.timeout == MALFORMED and refusal is None:
                self.refusal = Reason.BAD_REQUEST

    def begin(self) -> bytes:
        """The head for HTTP/1.1, but for how it ends."""
        wire = self._wire
        if not wire:
            wire = self._wire = open_request(self.head, b"", self.target)
        return wire

    def end(self, request_id: bytes, traceparent: bytes) -> bytes:
        """How it ends: with these where the caller named none."""
        is_own = self.head.request_id is None
        if self.head.is_traced or not traceparent:
            return b"x-request-id: " + request_id + END if is_own else CRLF
        if is_own:
            return b"".join([b"traceparent: ", traceparent, b"\r\nx-request-id: ", request_id, END])
        return b"traceparent: " + traceparent + END

    def read_again(self, octets: bytes) -> Judged:
        """The same about one of the heads alike, with all that it says."""
        head = parse_request(octets, _NO_LIMITS)
        assert isinstance(head, RequestHead)  # noqa: S101  (it was sound, and within limits, when it was recognised)
        return Judged(head, self.refusal, self.verdict, self.route, self.target, self.pairs, self.protocol)

    def open(self, codec: Codec, store: FieldStore, done: bool, literals: bytes) -> Stream:
        """Sends the head over HTTP/2, and `literals` behind it: a request id and a traceparent that are ours."""
        head = self.head
        known = self._known
        if known is not None:
            return codec.open(_NO_FIELDS, head.method, done, known, literals)
        asked = self._asked
        told = self._told
        if asked is None:
            asked = self._asked = Known(asked_fields(head, store, self.target))
        if told is None:
            told = self._told = told_fields(head, store)
        else:
            self._known = Known(asked.fields + told)
        return codec.open(told, head.method, done, asked, literals)

    def patience(self, usual: float) -> float:
        """Seconds from the end of the request to the beginning of its answer; a gRPC caller may say more than is usual."""
        return max(usual, self.timeout)
