"""The fields of a message to send, from a head of either protocol. To be kept with what was decided about the head: encoding is per call."""

from __future__ import annotations

from tulle.http.h2.field import Field, FieldStore
from tulle.http.head import RequestHead, ResponseHead


def request_fields(
    head: RequestHead, store: FieldStore, target: bytes = b"", extra: list[Field] | None = None, scheme: bytes = b"http"
) -> list[Field]:
    """What `Connection.open` sends for a request. `target` replaces the path that came; `extra` is added last."""
    fields = asked_fields(head, store, target, scheme)
    fields.extend(told_fields(head, store))
    if extra is not None:
        fields.extend(extra)
    return fields


def asked_fields(head: RequestHead, store: FieldStore, target: bytes = b"", scheme: bytes = b"http") -> list[Field]:
    """What is asked, of whom: the pseudo-header fields."""
    fields = [
        store.field(b":method", head.method.encode()),
        store.field(b":scheme", scheme),
        store.field(b":path", target or head.origin),
    ]
    if head.authority:
        fields.append(store.field(b":authority", head.authority))
    if head.protocol:
        fields.insert(1, store.field(b":protocol", head.protocol))
    return fields


def told_fields(head: RequestHead, store: FieldStore) -> list[Field]:
    """All that follows the pseudo-header fields."""
    fields: list[Field] = []
    if head.content_length >= 0:
        fields.append(store.field(b"content-length", b"%d" % head.content_length))
    if head.te_trailers:
        fields.append(store.field(b"te", b"trailers"))
    fields.extend(_going(head.going, head.forward if head.going is None else b"", store))
    return fields


def response_fields(head: ResponseHead, store: FieldStore, extra: list[Field] | None = None) -> list[Field]:
    """What `Connection.send_head` sends for an answer, interim ones included; `extra` is added last."""
    fields = [store.field(b":status", b"%d" % head.status)]
    if head.content_length >= 0:
        fields.append(store.field(b"content-length", b"%d" % head.content_length))
    fields.extend(_going(head.going, head.forward if head.going is None else b"", store))
    if extra is not None:
        fields.extend(extra)
    return fields


def trailer_fields(trailers: list[tuple[bytes, bytes]], store: FieldStore) -> list[Field]:
    """Trailers that HTTP/1.1 brought."""
    return [store.field(name.lower(), value) for name, value in trailers]


def _going(going: list[Field] | None, lines: bytes, store: FieldStore) -> list[Field]:
    if going is not None:
        return going
    made: list[Field] = []
    for line in lines.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name:
            made.append(store.field(name.lower(), value.strip(b" \t")))
    return made
