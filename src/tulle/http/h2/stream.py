"""One stream of a connection, and whom a connection tells what happens to its streams."""

from __future__ import annotations

from typing import Final, final

from tulle.http.h2.field import Field
from tulle.http.head import Refusal, RequestHead, ResponseHead

NO_PIECES: Final[list[bytes]] = []


@final
class Stream:
    """State of one stream. Others set `owner` and read; only the connection changes the rest."""

    __slots__ = (
        "credit",
        "expected",
        "has_head",
        "id",
        "is_closed",
        "is_ending",
        "is_local_done",
        "is_remote_done",
        "method",
        "octets",
        "owner",
        "queue",
        "queue_at",
        "queue_first",
        "queued",
        "receive_window",
        "send_window",
        "since",
        "trailers",
        "unconsumed",
    )

    def __init__(self, stream_id: int, send_window: int, receive_window: int, method: str) -> None:
        self.id = stream_id
        self.octets = stream_id.to_bytes(4, "big")
        """The id as frames carry it."""
        self.owner: object | None = None
        """Whoever frames this stream; for the handler's use."""
        self.method = method
        """Of the request."""
        self.has_head = False
        """The peer's head has come, interim ones aside."""
        self.is_remote_done = False
        """The peer has ended its half."""
        self.is_local_done = False
        """We have ended our half, and sent all of it."""
        self.is_closed = False
        """Over, in whatever way; what is still done to it does nothing."""
        self.expected = -1
        """Octets that the peer's Content-Length still promises; -1: it promised nothing."""
        self.receive_window = receive_window
        """Octets that the peer may still send."""
        self.unconsumed = 0
        """Octets received and not yet consumed."""
        self.since = 0.0
        """When the peer opened it, by the clock of `receive`; what we open has no such time."""
        self.credit = 0
        """Octets consumed and not yet given back to the peer."""
        self.send_window = send_window
        """Octets that we may send; negative after the peer shrank its windows."""
        self.queue: list[bytes] = NO_PIECES
        """Data that waits for a window, from `queue_at` of the piece `queue_first` on."""
        self.queue_first = 0
        self.queue_at = 0
        self.queued = 0
        """Octets that wait."""
        self.is_ending = False
        """What is queued, and `trailers`, end our half."""
        self.trailers: list[Field] | None = None
        """Encoded when they are sent: the table follows the order on the wire."""

    def __repr__(self) -> str:
        return f"Stream({self.id})"


class Handler:
    """What a connection reports, in the order of the wire. Each may call the connection; none may call `receive`."""

    def on_output(self) -> None:
        """There is something to send: `take` it at the end of this turn."""
        raise NotImplementedError

    def on_request(self, stream: Stream, head: RequestHead, done: bool) -> None:
        """A stream was opened by a sound head."""
        raise NotImplementedError

    def on_refused(self, stream: Stream, refusal: Refusal) -> None:
        """A stream was opened by a head that is not accepted. Malformed ones (400) are reset already, others are to be answered."""
        raise NotImplementedError

    def on_turned_away(self) -> None:
        """The client opened a stream beyond the limit, which was refused."""

    def on_response(self, stream: Stream, head: ResponseHead, done: bool) -> None:
        """The head of an answer; below 200 it is an interim one."""
        raise NotImplementedError

    def on_data(self, stream: Stream, payload: bytes, done: bool) -> None:
        """Payload, empty only with `done`. To be `consume`d when it has gone on."""
        raise NotImplementedError

    def on_trailers(self, stream: Stream, trailers: list[Field]) -> None:
        """The peer's half ends, with these."""
        raise NotImplementedError

    def on_reset(self, stream: Stream, code: int, by_peer: bool) -> None:
        """The stream is over before its time: the peer says so, or what it sent did not hold."""
        raise NotImplementedError

    def on_writable(self, stream: Stream) -> None:
        """All queued data has been sent, and the trailers behind it; the stream may be over by that."""
        raise NotImplementedError

    def on_ready(self) -> None:
        """The peer's first SETTINGS are there: its limits are known."""
        raise NotImplementedError

    def on_goaway(self, code: int) -> None:
        """No more streams will be served. Those that the peer did not look at were reported as reset with REFUSED_STREAM."""
        raise NotImplementedError

    def on_pong(self) -> None:
        """The answer to our PING."""
        raise NotImplementedError

    def on_failed(self, code: int, detail: str) -> None:
        """The connection is over: send what `take` gives, then close. Its streams are lost."""
        raise NotImplementedError
