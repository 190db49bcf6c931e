"""CONNECT over HTTP/1.1: a connection becomes another one of its caller, or is answered that it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from tulle.http.forward import ESTABLISHED
from tulle.http.head import RequestHead
from tulle.proxy.lane import Lane
from tulle.proxy.own_answers import write_own_answer
from tulle.proxy.relay import Relay
from tulle.proxy.stream import Asker
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason

if TYPE_CHECKING:
    from tulle.proxy.downstream import HttpDownstream


@final
class Http1Asker(Asker):
    """A caller that waits for the answer to CONNECT."""

    def __init__(self, relay: Relay, downstream: HttpDownstream, wire: Wire, lane: Lane, head: RequestHead) -> None:
        self._relay = relay
        self._downstream = downstream
        self._wire = wire
        self._lane = lane
        self._head = head

    def established(self) -> None:
        self._wire.write(ESTABLISHED)

    def refused(self, reason: Reason, policy: str) -> None:
        downstream = self._downstream
        head = self._head
        request_id = self._relay.note_refused(self._lane, head, reason, policy)
        self._wire.pass_to(downstream)
        downstream.say_last(
            write_own_answer(reason, request_id, close=True, with_body=True, client_minor=head.version_minor)
        )
