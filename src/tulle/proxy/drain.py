"""Ends in order: nothing new is accepted, what is served is finished; at a deadline the rest is answered 503 or cut.

There are two reasons to end. The mesh stops: who is idle is closed at once. Another proxy takes this one's place: nobody may
notice, so who is idle is left until it asks again, and told then; an HTTP/2 caller is told at once, and has said by an
answer that it knows before its connection closes.
"""

import asyncio
import time

from tulle.proxy.arrival import Register
from tulle.proxy.control import Listeners
from tulle.proxy.relay import Relay
from tulle.wire.reason import Reason

LOOKS_PER_SECOND = 20


class Drain:
    """Asked for by SIGTERM, `POST /drain`, the supervisor's end, or because another proxy serves."""

    def __init__(self, relay: Relay, register: Register, listeners: Listeners) -> None:
        self._relay = relay
        self._register = register
        self._listeners = listeners
        self._wanted = asyncio.Event()
        self._is_patient = True
        """Another one serves."""
        self._deadline = float("inf")

    def begin(self) -> None:
        """The mesh stops: the process is ending, within the limit `drain_timeout`. Idempotent."""
        self._is_patient = False
        self._end_within(self._relay.limits.drain_timeout)

    def retire(self, seconds: float) -> None:
        """Another proxy serves: the process ends once nobody needs it, and within so many seconds."""
        self._end_within(seconds)

    async def wait(self) -> None:
        """Returns when it has been asked for and everything has ended, or the deadline has come."""
        await self._wanted.wait()
        relay = self._relay
        relay.dispatcher.enter()
        relay.is_draining = True
        self._listeners.close()
        self._part()
        while not self._is_over() and (left := self._deadline - time.monotonic()) > 0:
            self._wanted.clear()
            try:
                async with asyncio.timeout(min(1 / LOOKS_PER_SECOND, left)):
                    await self._wanted.wait()
            except TimeoutError:
                continue
            relay.dispatcher.enter()
            self._part()
        relay.dispatcher.enter()
        self._register.cut(Reason.DRAINING)
        await asyncio.sleep(0)  # a turn, in which they are closed

    def _is_over(self) -> bool:
        """Nobody is connected, and all that was written for who was has gone out."""
        return not self._register.connections and not self._relay.dispatcher.held

    def _part(self) -> None:
        for connection in list(self._register.connections):
            if connection.speaker is None:
                continue
            if self._is_patient:
                connection.speaker.retire()
            else:
                connection.speaker.close_when_idle()

    def _end_within(self, seconds: float) -> None:
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        self._wanted.set()
        self._relay.dispatcher.wake()
