"""The last requests that the proxy answered by itself, for `tulle why REQUEST-ID`."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from tulle.wire.status import Refusal

if TYPE_CHECKING:
    from tulle.http.head import RequestHead
    from tulle.proxy.lane import Lane
    from tulle.wire.reason import Reason

KEPT = 256
"""Refusals; with what is kept of each, some 300 KB at the very most."""
MAX_TEXT = 512
"""Characters kept of a path; a quarter of it of what else a caller chooses."""


class Refusals:
    """A ring of copies: it keeps neither a generation nor a connection alive."""

    def __init__(self) -> None:
        self._kept: deque[Refusal] = deque(maxlen=KEPT)

    def remember(
        self, lane: Lane, request_id: str, head: RequestHead | None, reason: Reason, policy: str, trace: str = ""
    ) -> None:
        """Takes one in; `head` is None for what was no valid request."""
        self._kept.append(
            Refusal(
                id=request_id[: MAX_TEXT // 4],
                time=time.time(),
                generation=lane.tables.generation,
                source=lane.source,
                pod=lane.caller.pod,
                destination=lane.destination,
                port=lane.port.port if lane.port is not None else 0,
                method=("GET" if head.protocol else head.method[: MAX_TEXT // 4]) if head is not None else "",
                host=head.host[: MAX_TEXT // 4] if head is not None else "",
                path=head.path[:MAX_TEXT] if head is not None else "",
                reason=reason.code,
                policy=policy,
                trace=trace,
            )
        )

    def take_over(self, older: list[Refusal]) -> None:
        """What a proxy before this one had answered; it is older than what is kept here."""
        self._kept = deque((*older, *self._kept), maxlen=KEPT)

    def found(self, request_id: str | None) -> list[Refusal]:
        """Those of an id, oldest first; all that are kept with None."""
        if request_id is None:
            return list(self._kept)
        return [one for one in self._kept if one.id == request_id[: MAX_TEXT // 4]]
