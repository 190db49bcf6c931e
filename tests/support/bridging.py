"""Foreign judges of what goes on after a bridge between HTTP/1.1 and HTTP/2: `h11` and PyPI's `h2`, as strict as they can be."""

from __future__ import annotations

from dataclasses import dataclass, field

import h11
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    TrailersReceived,
)
from hypothesis import strategies as st

from tests.support.h2_script import literal_block
from tests.support.h2_wire import fields, request_heads
from tulle.http.h2 import frames
from tulle.http.h2.frames import frame

Pairs = list[tuple[bytes, bytes]]
OURS = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"te", b"x-request-id", b"traceparent")
)
"""Names of fields that the bridge writes itself."""


@dataclass(slots=True)
class Seen:
    """One message as a judge read it."""

    first: tuple[bytes, ...]
    """Method, path and authority; or the status."""
    fields: Pairs
    """All but those that the bridge writes itself."""
    body: bytes = b""
    trailers: Pairs = field(default_factory=list)
    is_whole: bool = False


def by_h11(octets: bytes, *, asked: bytes = b"") -> list[Seen]:
    """All messages in these octets; answers to a request of the method `asked`, if any. Raises h11.RemoteProtocolError; nothing may be left."""
    connection = h11.Connection(h11.CLIENT if asked else h11.SERVER)
    if asked:
        connection.send(h11.Request(method=asked, target=b"/", headers=[(b"host", b"a")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(octets)
    seen: list[Seen] = []
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            seen.append(Seen((event.method, event.target, dict(event.headers)[b"host"]), _others(list(event.headers))))
        elif isinstance(event, (h11.Response, h11.InformationalResponse)):
            seen.append(Seen((b"%d" % event.status_code,), _others(list(event.headers))))
        elif isinstance(event, h11.Data):
            seen[-1].body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            seen[-1].trailers = list(event.headers)
            seen[-1].is_whole = True
        elif event is h11.PAUSED:
            rest = bytes(connection.trailing_data[0])
            if not rest:
                return seen
            if not asked:
                connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
                connection.send(h11.EndOfMessage())
            assert not asked, f"octets behind the answer: {rest!r}"
            connection.start_next_cycle()
        else:
            assert event is h11.NEED_DATA, event
            assert not connection.trailing_data[0], connection.trailing_data
            return seen


def by_h2(octets: bytes, *, asked: bytes = b"") -> list[Seen]:
    """The same for HTTP/2, by stream. Raises h2.exceptions.ProtocolError."""
    connection = H2Connection(H2Configuration(client_side=bool(asked), header_encoding=None))
    connection.initiate_connection()
    if asked:
        ask = [(":method", asked.decode()), (":scheme", "http"), (":path", "/"), (":authority", "a")]
        connection.send_headers(1, ask, end_stream=True)
    seen: dict[tuple[int, int], Seen] = {}
    last: dict[int, Seen] = {}
    for event in connection.receive_data(octets):
        if isinstance(event, RequestReceived):
            pseudo = dict(event.headers[:4])
            first = (pseudo[b":method"], pseudo[b":path"], pseudo[b":authority"])
            last[event.stream_id] = seen[event.stream_id, len(seen)] = Seen(first, _others(_plain(event.headers)))
        elif isinstance(event, (ResponseReceived, InformationalResponseReceived)):
            status = (dict(event.headers)[b":status"],)
            last[event.stream_id] = seen[event.stream_id, len(seen)] = Seen(status, _others(_plain(event.headers)))
        elif isinstance(event, DataReceived):
            last[event.stream_id].body += event.data
        elif isinstance(event, TrailersReceived):
            last[event.stream_id].trailers = _plain(event.headers)
        elif isinstance(event, StreamEnded):
            last[event.stream_id].is_whole = True
    return list(seen.values())


def message(head: Pairs, body: list[bytes], tail: Pairs) -> bytes:
    """A message on stream 1; it ends with the last of its parts."""
    parts = [(frames.HEADERS, 0x4, literal_block(head))]
    parts += [(frames.DATA, 0, piece) for piece in body]
    if tail:
        parts.append((frames.HEADERS, 0x4, literal_block(tail)))
    kind, flags, payload = parts[-1]
    parts[-1] = (kind, flags | 0x1, payload)
    return b"".join(frame(kind, flags, 1, payload) for kind, flags, payload in parts)


def _plain(headers: list[tuple[bytes, bytes]]) -> Pairs:
    return [(bytes(name), bytes(value)) for name, value in headers if not name.startswith(b":")]


def _others(pairs: Pairs) -> Pairs:
    return [(name.lower(), value) for name, value in pairs if name.lower() not in OURS]


SPICE = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b"\x00",
        b" ",
        b":",
        b"\t",
        b"A",
        b"#",
        b"?",
        b"@",
        b"\xff",
        b"\x7f",
        b"chunked",
        b"\r\nx: y",
        b"\r\n\r\nGET /evil HTTP/1.1\r\nhost: a\r\n\r\n",
        b" HTTP/1.1\r\nhost: evil\r\n",
        b"http://evil",
    ]
)
STRAY = st.sampled_from(
    [
        (b"content-length", b"3"),
        (b"content-length", b"0"),
        (b"content-length", b"+3"),
        (b"content-length", b"3, 3"),
        (b"content-length", b"0x3"),
        (b"transfer-encoding", b"chunked"),
        (b"transfer-encoding", b"identity"),
        (b"connection", b"x-a"),
        (b"connection", b"close"),
        (b"keep-alive", b"5"),
        (b"host", b"admin"),
        (b"host", b"shop"),
        (b"te", b"trailers"),
        (b"te", b"trailers, chunked"),
        (b"expect", b"100-continue"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAAA"),
        (b"proxy-connection", b"close"),
        (b"trailer", b"content-length"),
        (b":path", b"/admin"),
        (b":path", b"http://admin/"),
        (b":path", b""),
        (b":path", b"*"),
        (b":authority", b"admin"),
        (b":authority", b""),
        (b":method", b"CONNECT"),
        (b":method", b"GET /evil HTTP/1.1\r\nx:"),
        (b":scheme", b"gopher"),
        (b":status", b"200"),
        (b":protocol", b"websocket"),
        (b":unknown", b"1"),
        (b"", b"1"),
        (b"x a", b"1"),
        (b"x:a", b"1"),
        (b"X-Upper", b"1"),
    ]
)


@st.composite
def spoilt(draw: st.DrawFn, sound: st.SearchStrategy[Pairs]) -> Pairs:
    """A head with fields put in anywhere, left out, doubled, in another order, or with octets put into names and values."""
    pairs = list(draw(sound))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(pairs) - 1))
        name, value = pairs[at]
        change = draw(st.sampled_from(["insert", "replace", "name", "value", "drop", "double", "order"]))
        if change == "insert":
            pairs.insert(draw(st.integers(0, len(pairs))), draw(STRAY))
        elif change == "replace":
            pairs[at] = draw(STRAY)
        elif change == "name":
            place = draw(st.integers(0, len(name)))
            pairs[at] = (name[:place] + draw(SPICE) + name[place:], value)
        elif change == "value":
            place = draw(st.integers(0, len(value)))
            pairs[at] = (name, value[:place] + draw(SPICE) + value[place:])
        elif change == "double":
            pairs.insert(0, pairs[at])
        elif change == "order":
            pairs = draw(st.permutations(pairs))
        elif len(pairs) > 1:
            del pairs[at]
    return pairs


heads = spoilt(request_heads())
"""Of requests over HTTP/2."""
answers = spoilt(
    st.builds(
        lambda status, others: [(b":status", b"%d" % status), *others],
        st.sampled_from([200, 200, 204, 206, 304, 404, 500, 599]),
        fields,
    )
)
"""Of answers over HTTP/2."""
bodies = st.lists(st.binary(max_size=30), max_size=3)
trailers: st.SearchStrategy[Pairs] = st.one_of(
    st.just([]), spoilt(st.lists(st.tuples(st.just(b"x-sum"), st.just(b"9")), min_size=1, max_size=2))
)
