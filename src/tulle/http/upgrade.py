"""Changing the protocol of a connection or stream: what may be asked for, and the heads that ask and answer, in either HTTP.

HTTP/1.1 asks by Upgrade and is answered 101 (RFC 9110, 7.8); HTTP/2 asks by extended CONNECT and is answered 2xx (RFC 8441).
"""

from __future__ import annotations

from typing import Final

from tulle.http.fields import BLANK, is_token, without
from tulle.http.h2.field import Field, FieldStore
from tulle.http.h2.sending import request_fields
from tulle.http.head import NO_BODY, RequestHead, ResponseHead
from tulle.http.websocket import is_key

WEBSOCKET: Final = b"websocket"
KEY: Final = b"sec-websocket-key"
ACCEPT: Final = b"sec-websocket-accept"
HANDSHAKE: Final = frozenset((KEY, ACCEPT))
"""Fields that prove a handshake of HTTP/1.1, hop by hop: HTTP/2 needs no proof."""

CARRIES_REQUESTS: Final = frozenset((b"h2c", b"h2", b"h3", b"http", b"tls"))
"""Protocols that bring more requests, which nobody would judge: an upgrade to them is not served."""
MAX_OFFERED: Final = 4
MAX_PROTOCOL: Final = 64


def offered_protocols(head: RequestHead) -> bytes:
    """The protocols to ask the endpoint for, separated by `, `; empty where the request is served in HTTP.

    An Upgrade counts in HTTP/1.1 and without a body only, lest two readers disagree where the new protocol begins; one to WebSocket
    as RFC 6455, 4.1 says: by GET, with a key.
    """
    if not head.upgrade:
        return b""
    if head.protocol:
        return head.protocol if _is_served(head.protocol) else b""
    if head.version_minor != 1 or head.framing != NO_BODY:
        return b""
    offered: list[bytes] = []
    for part in (head.value(b"upgrade") or b"").split(b","):
        protocol = part.strip(BLANK)
        if not protocol:
            continue
        name, slash, version = protocol.partition(b"/")
        if not is_token(name) or (slash and not is_token(version)) or len(protocol) > MAX_PROTOCOL:
            return b""
        if protocol.lower() == WEBSOCKET:
            if head.method == "GET" and is_key(head.value(KEY)):
                return WEBSOCKET  # with its key in the head there is nothing else it could mean
        elif _is_served(protocol) and len(offered) < MAX_OFFERED:
            offered.append(protocol)
    return b", ".join(offered)


def _is_served(protocol: bytes) -> bool:
    return protocol.lower().partition(b"/")[0] not in CARRIES_REQUESTS


def chosen_protocol(head: ResponseHead, offered: bytes) -> bytes:
    """The one of the offered protocols to which a 101 changes, in lower case; empty when it is none of them."""
    if not head.upgrade:
        return b""
    chosen = (head.value(b"upgrade") or b"").strip(BLANK).lower()
    return chosen if chosen in offered.lower().split(b", ") else b""


def upgrade_request(head: RequestHead, offered: bytes, target: bytes, extra: bytes) -> bytes:
    """The head that asks in HTTP/1.1, whole. `extra`: whole lines with CRLF. `target` replaces the origin form."""
    fields = head.forward
    method = head.method.encode()
    if head.protocol:
        method = b"GET"
        fields = without(fields, HANDSHAKE)
    length = b"content-length: 0\r\n" if head.content_length == 0 else b""
    connection = b"te: trailers\r\nconnection: te, upgrade\r\n" if head.te_trailers else b"connection: upgrade\r\n"
    return b"".join(
        (
            method,
            b" ",
            target or head.origin,
            b" HTTP/1.1\r\nhost: ",
            head.authority,
            b"\r\n",
            length,
            connection,
            b"upgrade: ",
            offered,
            b"\r\n",
            fields,
            extra,
            b"\r\n",
        )
    )


def connect_fields(head: RequestHead, protocol: bytes, target: bytes, store: FieldStore) -> list[Field]:
    """The head that asks in HTTP/2."""
    fields = request_fields(head, store, target)
    asks = [store.field(b":method", b"CONNECT"), store.field(b":protocol", protocol)]
    dropped = (b":method", b":protocol", b"content-length", *HANDSHAKE)
    return asks + [field for field in fields if field.name.octets not in dropped]


def switching_head(head: ResponseHead, protocol: bytes, accept: bytes) -> bytes:
    """The 101 for a caller of HTTP/1.1. `accept`: the proof for its key; empty: none was asked for."""
    fields = without(head.forward, HANDSHAKE)
    proof = ACCEPT + b": " + accept + b"\r\n" if accept else b""
    return b"".join(
        (
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ",
            protocol,
            b"\r\n",
            proof,
            fields,
            b"\r\n",
        )
    )


def connected_fields(head: ResponseHead, store: FieldStore) -> list[Field]:
    """The 200 for a caller of HTTP/2."""
    fields = [store.field(b":status", b"200")]
    for line in without(head.forward, HANDSHAKE).split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name:
            fields.append(store.field(name.lower(), value.strip(b" \t")))
    return fields
