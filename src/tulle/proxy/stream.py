"""The two ends of a stream. A stream is what is routed; connections only frame it: HTTP/1.1 one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tulle.core.backends import EndpointRef
from tulle.http.head import ResponseHead
from tulle.proxy.wire import Party
from tulle.wire.reason import Reason

if TYPE_CHECKING:
    from tulle.proxy.exchange import Exchange

Trailers = list[tuple[bytes, bytes]]


class CallerEnd(Party):
    """Frames one stream towards the caller."""

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

    def answer(self, reason: Reason, request_id: str) -> None:
        """The whole answer, made by us."""
        raise NotImplementedError

    def break_off(self) -> None:
        """The answer that has begun will not be completed, and the caller shall notice."""
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

    def begin(self, exchange: Exchange, payload: list[bytes], done: bool, trailers: Trailers) -> bool:
        """Sends the request's head and what there is of its body, in one write. False: it broke before an octet was written."""
        raise NotImplementedError

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


class Connector:
    """Gives connections to endpoints."""

    def take(self, endpoint: EndpointRef, looks_again: bool) -> EndpointEnd | None:
        """A kept one, if there is any. `looks_again`: worth a system call, since what is sent may not be repeated."""
        raise NotImplementedError

    def dial(self, endpoint: EndpointRef, exchange: Exchange) -> None:
        """Makes a new one, and calls `on_connected` or `on_connect_failed`."""
        raise NotImplementedError
