"""CONNECT over HTTP/2: a stream becomes another connection of its caller, or is answered that it does not."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, final

from tulle.core.tables import ServicePortTable
from tulle.http.h2.stream import Stream
from tulle.http.head import RequestHead
from tulle.proxy.exchange import Exchange
from tulle.proxy.http2_call import Http2Call, answer_unserved
from tulle.proxy.judging import judge_connect, refuse_head
from tulle.proxy.lane import Lane
from tulle.proxy.passage import Passage
from tulle.proxy.stream import NO_TRAILERS, Asker
from tulle.wire.reason import Reason

if TYPE_CHECKING:
    from tulle.proxy.http2_downstream import Http2Downstream


def is_plain_connect(head: RequestHead) -> bool:
    """CONNECT to a host, not to a resource (RFC 8441)."""
    return head.method == "CONNECT" and not head.protocol


def serve_connect(owner: Http2Downstream, lane: Lane, stream: Stream, head: RequestHead, done: bool) -> None:
    """Serves CONNECT to a host. `done`: the caller's half has ended already."""
    relay = owner.relay
    port = lane.port
    refused = judge_connect(relay, lane, head)
    if refused is None and relay.passages.is_full(owner.connection.arrival):
        refused = refuse_head(lane, head, Reason.OVERLOADED)
    if refused is None and port is not None:
        try:
            near, far = socket.socketpair()
        except OSError:  # no descriptor left
            refused = refuse_head(lane, head, Reason.OVERLOADED)
        else:
            _lead(owner, port, stream, Http2Asker(owner, stream, lane, head), near, far)
            if done and isinstance(stream.owner, Passage):
                stream.owner.on_data(b"", True)
    if refused is not None:
        call = Http2Call(owner, stream)
        stream.owner = call
        exchange = call.exchange = Exchange(relay, lane, refused, call)
        exchange.begin([], True, NO_TRAILERS)


def _lead(
    owner: Http2Downstream,
    port: ServicePortTable,
    stream: Stream,
    asker: Http2Asker,
    near: socket.socket,
    far: socket.socket,
) -> None:
    """Between the stream and the `far` end, where the other connection is served."""
    relay = owner.relay
    near.setblocking(False)
    far.setblocking(False)
    speaker = relay.passages.open(owner.connection.arrival, port, far, asker)
    inner = speaker.line
    if inner is None:
        raise RuntimeError("whoever speaks on a connection has it")
    passage = Passage(relay, owner.link, owner.codec, stream, near, inner)
    stream.owner = passage
    passage.start()
    speaker.on_turn()


@final
class Http2Asker(Asker):
    """A caller that waits for the answer to CONNECT."""

    def __init__(self, owner: Http2Downstream, stream: Stream, lane: Lane, head: RequestHead) -> None:
        self._owner = owner
        self._stream = stream
        self._lane = lane
        self._head = head

    def established(self) -> None:
        owner = self._owner
        owner.codec.send_head(self._stream, [owner.relay.fields.field(b":status", b"200")], False)

    def refused(self, reason: Reason, policy: str) -> None:
        stream = self._stream
        passage = stream.owner
        if isinstance(passage, Passage):
            passage.let_go()
        if stream.is_closed:
            return
        request_id = self._owner.relay.note_refused(self._lane, self._head, reason, policy)
        answer_unserved(self._owner, stream, reason, request_id)
