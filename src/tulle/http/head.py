"""What a judged head is: the values that decide, and the fields that go on. Immutable in use, so that heads may be shared."""

from __future__ import annotations

from typing import Final, final

from tulle.http.fields import read_pairs
from tulle.http.h2.field import NO_FIELDS, Field, lines_of, pairs_of

NO_BODY: Final = 0
"""Framing: nothing follows the head."""
SIZED: Final = 1
"""Framing: `content_length` octets follow."""
CHUNKED: Final = 2
"""Framing: chunks follow, and perhaps trailers."""
UNTIL_CLOSE: Final = 3
"""Framing: all that comes until the peer closes. Responses only."""


@final
class Refusal:
    """Why a head is not accepted, and the status that says so to a client. For a response head: answer 502."""

    __slots__ = ("content_type", "detail", "status")

    def __init__(self, status: int, detail: str) -> None:
        self.content_type = b""
        """Of the request, where it was read: how the client wants to be told."""
        self.status = status
        """400, 414, 431, 501 or 505."""
        self.detail = detail
        """A sentence for logs; it quotes nothing that came from the peer."""

    def __repr__(self) -> str:
        return f"Refusal({self.status}, {self.detail!r})"


@final
class Limits:
    """How much of a head is read before it is refused."""

    __slots__ = ("header_bytes", "header_count", "target_bytes")

    def __init__(self, header_bytes: int = 32_768, header_count: int = 100, target_bytes: int = 8_192) -> None:
        self.header_bytes = header_bytes
        """Octets of a whole head, first line and empty line included; beyond: 431."""
        self.header_count = header_count
        """Fields of a head; beyond: 431."""
        self.target_bytes = target_bytes
        """Octets of the request target; beyond: 414."""


@final
class RequestHead:
    """One request head as it was judged. A pure function of its bytes and the limits."""

    __slots__ = (
        "_forward",
        "authority",
        "came",
        "chunked",
        "content_length",
        "expect_continue",
        "framing",
        "going",
        "host",
        "is_traced",
        "keep_alive",
        "lines",
        "method",
        "named",
        "origin",
        "path",
        "port",
        "protocol",
        "query",
        "request_id",
        "size",
        "target",
        "te_trailers",
        "traceparent",
        "upgrade",
        "version_minor",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        origin: bytes,
        path: str,
        query: str,
        host: str,
        port: int,
        authority: bytes,
        version_minor: int,
        lines: bytes,
        forward: bytes | None,
        framing: int,
        content_length: int,
        chunked: bool,
        keep_alive: bool,
        expect_continue: bool,
        upgrade: bool,
        te_trailers: bool,
        named: list[bytes],
        request_id: bytes | None,
        size: int,
        came: list[Field] | None = None,
        going: list[Field] | None = None,
        protocol: bytes = b"",
        traceparent: bytes = b"",
        is_traced: bool = False,
    ) -> None:
        self.method = method
        """As it came; methods are case-sensitive."""
        self.target = target
        """The request target as it came."""
        self.origin = origin
        """The target in origin form (or `*`): what is forwarded."""
        self.path = path
        """Before the `?`, as it came: neither decoded nor normalised. `*` for OPTIONS *."""
        self.query = query
        """After the `?`; empty when there is none."""
        self.host = host
        """Lower case, without port; IPv6 keeps its brackets; empty only on HTTP/1.0 without Host."""
        self.port = port
        """The port that Host names; -1 when it names none."""
        self.authority = authority
        """Host with its port, lower case: what is forwarded as Host."""
        self.version_minor = version_minor
        """1, or 0 for HTTP/1.0; 1 for HTTP/2."""
        self.lines = lines
        """All field lines as they came, each ended by CRLF. Empty from HTTP/2."""
        self.came = came
        """All fields, pseudo-header fields among them, as HTTP/2 brought them; None: HTTP/1.1 did, see `lines`."""
        self.going = going
        """The fields that go on as HTTP/2 brought them; None: HTTP/1.1 did, see `forward`."""
        self._forward = forward
        self.framing = framing
        """NO_BODY, SIZED or CHUNKED. CHUNKED from HTTP/2: a body of unknown length, and perhaps trailers."""
        self.content_length = content_length
        """The body's octets; -1 when not said."""
        self.chunked = chunked
        self.keep_alive = keep_alive
        """Whether the client means to send another request on this connection."""
        self.expect_continue = expect_continue
        """The client waits for 100 before it sends the body."""
        self.upgrade = upgrade
        """The client asks for another protocol (Connection and Upgrade both say so; an extended CONNECT)."""
        self.protocol = protocol
        """What an extended CONNECT asks for (RFC 8441), lower case; else empty."""
        self.te_trailers = te_trailers
        """The client says that it reads trailers."""
        self.named = named
        """Lower-case field names that Connection lists as hop-by-hop; they are not in `forward`."""
        self.request_id = request_id
        """The value of X-Request-Id, unless Connection names it; several are joined by a comma."""
        self.size = size
        """Octets of the whole head as it came; 0 from HTTP/2."""
        self.traceparent = traceparent
        """The W3C trace that the request belongs to, as it goes on; empty: none that is valid came."""
        self.is_traced = is_traced
        """It is among the fields that go on. What came instead, and a tracestate without a valid one, is not."""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """All fields in order, (lower-case name, value without surrounding blanks), hop-by-hop ones included. Made anew."""
        return read_pairs(self.lines) if self.came is None else pairs_of(self.came, self.authority)

    @property
    def forward(self) -> bytes:
        """The fields that go on, re-serialised with the names' own case: all but Host, framing and hop-by-hop."""
        forward = self._forward
        if forward is None:
            forward = self._forward = lines_of(self.going or NO_FIELDS)
        return forward

    def value(self, name: bytes) -> bytes | None:
        """The field's value; several of one name are joined by a comma; None when absent. `name` in lower case."""
        return find_value(self.fields, name)


@final
class ResponseHead:
    """One response head as it was judged, for the method that asked."""

    __slots__ = (
        "_forward",
        "came",
        "content_length",
        "framing",
        "going",
        "keep_alive",
        "lines",
        "named",
        "reason",
        "size",
        "status",
        "upgrade",
        "version_minor",
        "wire",
    )

    def __init__(
        self,
        status: int,
        reason: bytes,
        version_minor: int,
        lines: bytes,
        forward: bytes | None,
        framing: int,
        content_length: int,
        keep_alive: bool,
        upgrade: bool,
        named: list[bytes],
        came: list[Field] | None = None,
        going: list[Field] | None = None,
        size: int = 0,
        wire: bytes = b"",
    ) -> None:
        self.status = status
        """100 to 599."""
        self.reason = reason
        """The reason phrase; may be empty."""
        self.version_minor = version_minor
        self.lines = lines
        """All field lines as they came, each ended by CRLF. Empty from HTTP/2."""
        self.came = came
        """All fields as HTTP/2 brought them; None: HTTP/1.1 did, see `lines`."""
        self.going = going
        """The fields that go on as HTTP/2 brought them; None: HTTP/1.1 did, see `forward`."""
        self._forward = forward
        self.framing = framing
        """NO_BODY, SIZED, CHUNKED or UNTIL_CLOSE."""
        self.content_length = content_length
        """As the field says, -1 without it. May be positive with NO_BODY (answers to HEAD, 304)."""
        self.keep_alive = keep_alive
        """Whether the connection may carry another request once the body is read."""
        self.upgrade = upgrade
        """Status 101, with Connection and Upgrade both saying so."""
        self.named = named
        self.size = size
        """Octets of the whole head as it came; 0 from HTTP/2."""
        self.wire = wire
        """It as it is sent to a client that speaks HTTP/1.1 and keeps its connection; empty where nobody has written it yet."""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """All fields in order, (lower-case name, value). Made anew."""
        return read_pairs(self.lines) if self.came is None else pairs_of(self.came, b"")

    @property
    def forward(self) -> bytes:
        """The fields that go on, re-serialised: all but framing and hop-by-hop."""
        forward = self._forward
        if forward is None:
            forward = self._forward = lines_of(self.going or NO_FIELDS)
        return forward

    def value(self, name: bytes) -> bytes | None:
        """The field's value; several of one name are joined by a comma; None when absent. `name` in lower case."""
        return find_value(self.fields, name)


def find_value(fields: list[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The value of a field, joined by commas when it comes several times."""
    found: bytes | None = None
    for field in fields:
        if field[0] == name:
            found = field[1] if found is None else found + b", " + field[1]
    return found
