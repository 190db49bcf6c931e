"""What the proxy says for itself: a reason becomes a response."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from tulle.http.h2.field import Field, FieldStore
from tulle.http.write import write_reply
from tulle.wire.reason import Reason

_PLAIN_IN_MESSAGE: Final = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


def write_own_answer(
    reason: Reason, request_id: str, *, close: bool, with_body: bool, client_minor: int, status: int = 0
) -> bytes:
    """The whole response. It names the reason and where to ask why, never the policy. `status`: other than the reason's."""
    body = explanation(reason, request_id)
    extra = f"x-tulle-reason: {reason.code}\r\nx-request-id: {request_id}\r\n"
    return write_reply(
        status or reason.status,
        body,
        extra=extra.encode("latin-1"),
        close=close,
        with_body=with_body,
        client_minor=client_minor,
    )


def own_answer_fields(
    store: FieldStore, reason: Reason, request_id: str, with_body: bool, status: int = 0, grpc_status: int = -1
) -> tuple[list[Field], bytes]:
    """The same as fields and body. `grpc_status`: to a gRPC call, in a head that is all ("Trailers-Only" in gRPC's terms)."""
    about = [
        store.field(b"x-tulle-reason", reason.code.encode()),
        store.field(b"x-request-id", request_id.encode("latin-1")),
    ]
    if grpc_status >= 0:
        return [
            store.field(b":status", b"200"),
            store.field(b"content-type", b"application/grpc"),
            *grpc_trailers(store, reason, grpc_status),
            *about,
        ], b""
    body = explanation(reason, request_id)
    return [
        store.field(b":status", b"%d" % (status or reason.status)),
        store.field(b"content-type", b"text/plain; charset=utf-8"),
        store.field(b"content-length", b"%d" % len(body)),
        *about,
    ], body if with_body else b""


def grpc_trailers(store: FieldStore, reason: Reason, grpc_status: int) -> list[Field]:
    """How a call ends that the proxy ends."""
    return [
        store.field(b"grpc-status", b"%d" % grpc_status),
        store.field(b"grpc-message", grpc_message(f"tulle: {reason.code}: {reason.meaning}")),
    ]


def explanation(reason: Reason, request_id: str) -> bytes:
    """For whoever reads the answer."""
    return f"tulle: {reason.code}: {reason.meaning}\nhint: tulle why {request_id}\n".encode()


def grpc_message(text: str) -> bytes:
    """Percent-encoded as gRPC's HTTP/2 protocol says."""
    return quote(text, safe=_PLAIN_IN_MESSAGE).encode("ascii")


def reason_of_refusal(status: int) -> Reason:
    """The reason for a status that the codec refuses a head with."""
    if status == 431:
        return Reason.HEAD_TOO_LARGE
    if status == 414:
        return Reason.TARGET_TOO_LONG
    if status == 501:
        return Reason.UNSUPPORTED
    return Reason.BAD_REQUEST
