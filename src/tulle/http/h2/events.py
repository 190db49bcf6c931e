"""A handler that writes down what happens: for whoever would rather read a list than be called."""

from __future__ import annotations

from typing import Final, final

from tulle.http.h2.field import Field
from tulle.http.h2.stream import Handler, Stream
from tulle.http.head import Refusal, RequestHead, ResponseHead

REQUEST: Final = "request"
REFUSED: Final = "refused"
RESPONSE: Final = "response"
PAYLOAD: Final = "data"
TRAILERS: Final = "trailers"
RESET: Final = "reset"
WRITABLE: Final = "writable"
READY: Final = "ready"
GONE_AWAY: Final = "goaway"
PONG: Final = "pong"
FAILED: Final = "failed"


@final
class Event:
    """One call of `Handler`. What a kind does not have is None, empty or zero."""

    __slots__ = ("by_peer", "code", "detail", "done", "fields", "head", "kind", "payload", "stream")

    def __init__(
        self,
        kind: str,
        stream: Stream | None,
        head: RequestHead | ResponseHead | Refusal | None = None,
        payload: bytes = b"",
        done: bool = False,
        code: int = 0,
        detail: str = "",
        fields: list[Field] | None = None,
        by_peer: bool = False,
    ) -> None:
        self.kind = kind
        self.stream = stream
        self.head = head
        self.payload = payload
        self.done = done
        self.code = code
        self.detail = detail
        self.fields = fields
        self.by_peer = by_peer


@final
class Events(Handler):
    """Collects. `take` what came after each `receive`."""

    def __init__(self) -> None:
        self.outputs = 0
        """How often there was something to send, and nothing before."""
        self._seen: list[Event] = []

    def take(self) -> list[Event]:
        """What happened since the last call."""
        seen = self._seen
        self._seen = []
        return seen

    def on_output(self) -> None:
        self.outputs += 1

    def on_request(self, stream: Stream, head: RequestHead, done: bool) -> None:
        self._seen.append(Event(REQUEST, stream, head, done=done))

    def on_refused(self, stream: Stream, refusal: Refusal) -> None:
        self._seen.append(Event(REFUSED, stream, refusal))

    def on_response(self, stream: Stream, head: ResponseHead, done: bool) -> None:
        self._seen.append(Event(RESPONSE, stream, head, done=done))

    def on_data(self, stream: Stream, payload: bytes, done: bool) -> None:
        self._seen.append(Event(PAYLOAD, stream, payload=payload, done=done))

    def on_trailers(self, stream: Stream, trailers: list[Field]) -> None:
        self._seen.append(Event(TRAILERS, stream, fields=trailers, done=True))

    def on_reset(self, stream: Stream, code: int, by_peer: bool) -> None:
        self._seen.append(Event(RESET, stream, code=code, by_peer=by_peer))

    def on_writable(self, stream: Stream) -> None:
        self._seen.append(Event(WRITABLE, stream))

    def on_ready(self) -> None:
        self._seen.append(Event(READY, None))

    def on_goaway(self, code: int) -> None:
        self._seen.append(Event(GONE_AWAY, None, code=code))

    def on_pong(self) -> None:
        self._seen.append(Event(PONG, None))

    def on_failed(self, code: int, detail: str) -> None:
        self._seen.append(Event(FAILED, None, code=code, detail=detail))
