"""The two ends of a stream. A stream is what is routed; connections only frame it: HTTP/1.1 one after the other."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from tulle.core.backends import EndpointRef
from tulle.http.head import ResponseHead
from tulle.proxy.party import Party
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason

if TYPE_CHECKING:
    from tulle.core.tables import ServicePortTable
    from tulle.proxy.arrival import Connection
    from tulle.proxy.exchange import Exchange
    from tulle.proxy.lane import Arrival
    from tulle.proxy.upgrade import Upgrade

Trailers = list[tuple[bytes, bytes]]
NO_TRAILERS: Final[Trailers] = []


class Speaker(Party):
    """Who speaks on a caller's connection, and can end it in order."""

    def close_when_idle(self) -> None:
        """Ends now when nothing is being served, else after the answer."""
        raise NotImplementedError

    def retire(self) -> None:
        """Another proxy serves: ends where the caller cannot miss it. Whoever knows no such moment goes on as it is."""

    def cut(self, reason: Reason) -> None:
        """Ends now: what is not answered yet is answered so."""
        raise NotImplementedError

    def renew(self) -> None:
        """A snapshot came into force: what waits for its caller lets go of the one before."""


class CallerEnd(Speaker):
    """Frames one stream towards the caller."""

    is_http2: bool
    """The caller speaks HTTP/2."""

    def inform(self, head: ResponseHead) -> None:
        """An interim answer (1xx)."""
        raise NotImplementedError

    def deliver(
        self, head: ResponseHead | None, wire: bytes, payload: list[bytes], done: bool, trailers: Trailers
    ) -> bool:
        """A part of the answer, all that one read gave. `head` with the first; `wire`: it serialised, or empty.

        False: the endpoint shall pause until `Exchange.resume_endpoint`.
        """
        raise NotImplementedError

    def answer_wire(self) -> Wire | None:
        """Where the rest of the answer's body goes as it is, so that nobody has to read it; None: it is framed."""
        return None

    def move_request(self, sink: Wire) -> None:
        """The rest of the request's body may go there unread."""

    def answer(self, reason: Reason, request_id: str) -> None:
        """The whole answer, made by us."""
        raise NotImplementedError

    def break_off(self) -> None:
        """The answer that has begun will not be completed, and the caller shall notice."""
        raise NotImplementedError

    def switch(self, upgrade: Upgrade, protocol: bytes, head: ResponseHead) -> CallerEnd | None:
        """Tells the caller that its protocol has changed, and gives the end that carries octets from now on.

        None: it did not wait for that, so nobody knows what it meant.
        """
        raise NotImplementedError

    def end_tunnel(self) -> None:
        """Both halves of a tunnel are over: ends once what is kept has gone."""
        raise NotImplementedError

    def pause_request(self) -> None:
        """The endpoint does not take more for now."""
        raise NotImplementedError

    def resume_request(self) -> None:
        """The endpoint takes more."""
        raise NotImplementedError


class EndpointEnd(Party):
    """Frames one stream towards an endpoint."""

    was_used: bool
    """It was kept before: the endpoint may have closed it in the meantime."""
    keeps_request: bool
    """The endpoint may refuse the stream unseen, so the beginning of the request is kept for another attempt."""

    def begin(self, exchange: Exchange, payload: list[bytes], done: bool, trailers: Trailers) -> bool:
        """Sends the request's head and what there is of its body, in one write. False: it broke before an octet was written."""
        raise NotImplementedError

    def request_wire(self) -> Wire | None:
        """Where the rest of the request's body goes as it is, so that nobody has to read it; None: it is framed."""
        return None

    def transmit(self, payload: list[bytes], done: bool, trailers: Trailers) -> None:
        """Sends more of the request's body."""
        raise NotImplementedError

    def pause_answer(self) -> None:
        """The caller does not take more for now."""
        raise NotImplementedError

    def resume_answer(self) -> None:
        """The caller takes more."""
        raise NotImplementedError

    def abandon(self) -> None:
        """The stream is over for us; what is left of the answer is not wanted."""
        raise NotImplementedError


def failure_of(tried: list[EndpointRef] | None) -> Reason:
    """Why no endpoint was reached: there is none, or these were tried in vain."""
    if not tried:
        return Reason.NO_HEALTHY_ENDPOINT
    for one in tried:
        if one.is_squatted:
            return Reason.SQUATTED
    return Reason.CONNECT_FAILED


class Connector:
    """Gives connections to endpoints."""

    def take(self, endpoint: EndpointRef, is_http2: bool, looks_again: bool) -> EndpointEnd | None:
        """A kept one, if there is any. `looks_again`: worth a system call, since what is sent may not be repeated."""
        raise NotImplementedError

    def dial(self, endpoint: EndpointRef, is_http2: bool, exchange: Exchange) -> None:
        """Makes a new one, and calls `on_connected` or `on_connect_failed`."""
        raise NotImplementedError


class Asker:
    """Whoever asked by CONNECT; told once what comes of it."""

    def established(self) -> None:
        """Octets go through from now on."""
        raise NotImplementedError

    def refused(self, reason: Reason, policy: str) -> None:
        """Nothing was let through, and nothing will be. Its end of the connection is for it to close."""
        raise NotImplementedError


class Passages:
    """Opens what CONNECT asks for: a connection to a service port, as if its virtual address had been dialled."""

    def lead_on(self, connection: Connection, port: ServicePortTable, wire: Wire, octets: bytes, asker: Asker) -> None:
        """The rest of a caller's connection is that one. `octets` of it have been read."""
        raise NotImplementedError

    def is_full(self, arrival: Arrival) -> bool:
        """This caller may open no more connections."""
        raise NotImplementedError

    def open(self, arrival: Arrival, port: ServicePortTable, far: socket.socket, asker: Asker) -> Speaker:
        """One more connection of this caller: who speaks at its far end, and begins with `on_turn`."""
        raise NotImplementedError
