"""One request to a control socket and its answer, without I/O: both clients drive it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tulle.http.h1 import BodyReader, Limits, Refusal, ResponseHead, find_head_end, parse_response

LIMITS = Limits()


class ResponseError(Exception):
    """The other end does not speak HTTP/1.1 as it should, or closed before it was done."""


class RefusedError(ResponseError):
    """The other end answered, but not with the stream that was asked for."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body.decode(errors="replace"))
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    content_type: str

    @property
    def is_ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class Exchange:
    """Reads the answer to one request. Interim responses are passed over."""

    def __init__(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        content_type: str = "application/json",
        *,
        host: str = "tulle",
        headers: Mapping[str, str] = {},
        keep: bool = False,
    ) -> None:
        """`headers` come besides; `keep`: the connection may serve another exchange afterwards."""
        if not target.startswith("/") or not target.isascii() or any(octet <= " " for octet in target):
            raise ValueError(f"not a request target: {target!r}")
        lines = f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n" + ("" if keep else "connection: close\r\n")
        if body or method in ("POST", "PUT"):
            lines += f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
        for name, value in headers.items():
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"not a value of header {name}")
            lines += f"{name}: {value}\r\n"
        self.request = lines.encode() + b"\r\n" + body
        """The octets to send."""
        self.head: ResponseHead | None = None
        self._method = method
        self._buffer = b""
        self._body: BodyReader | None = None

    @property
    def is_done(self) -> bool:
        """The answer is complete."""
        return self._body is not None and self._body.done

    def feed(self, read: bytes) -> bytes:
        """Takes what was read, empty when the peer closed; returns the payload in it. Raises ResponseError."""
        body = self._body
        rest = read
        if body is None:
            self._buffer += read
            body = self._body = self._read_head()
            if body is None:
                if not read:
                    raise ResponseError("closed before it answered")
                return b""
            rest = self._buffer
        out: list[bytes] = []
        body.feed(rest, 0, out)
        if not read:
            body.end()
        if body.failed:
            raise ResponseError(body.fault)
        return b"".join(out)

    def reply(self, body: bytes) -> Reply:
        """The answer, with the payload that `feed` returned."""
        if self.head is None:
            raise ResponseError("no answer yet")
        return Reply(self.head.status, body, (self.head.value(b"content-type") or b"").decode("latin-1"))

    def _read_head(self) -> BodyReader | None:
        """The reader of the body once the final head is there; what follows the head is left in the buffer."""
        while (end := find_head_end(self._buffer, 0)) >= 0:
            head = parse_response(self._buffer[:end], self._method, LIMITS)
            if isinstance(head, Refusal):
                raise ResponseError(head.detail)
            self._buffer = self._buffer[end:]
            if head.status >= 200:
                self.head = head
                return BodyReader(head.framing, head.content_length, LIMITS)
        if len(self._buffer) > LIMITS.header_bytes:
            raise ResponseError("head too long")
        return None


class Lines:
    """Cuts a stream into lines, wherever its pieces were cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return lines

    def rest(self) -> list[bytes]:
        """What came after the last line end, if anything."""
        return [self._rest] if self._rest else []
