"""Ends in order: nothing new is accepted, what is served is finished; at a deadline the rest is answered 503 or cut."""

import asyncio

from tulle.proxy.arrival import Register
from tulle.proxy.control import Listeners
from tulle.proxy.relay import Relay
from tulle.wire.reason import Reason

LOOKS_PER_SECOND = 20


class Drain:
    """Asked for by SIGTERM, `POST /drain` or the supervisor's end."""

    def __init__(self, relay: Relay, register: Register, listeners: Listeners) -> None:
        self._relay = relay
        self._register = register
        self._listeners = listeners
        self._wanted = asyncio.Event()

    def begin(self) -> None:
        """From now on the process is ending. Idempotent."""
        self._wanted.set()
        self._relay.dispatcher.wake()

    async def wait(self) -> None:
        """Returns when it has been asked for and everything has ended, or the deadline has come."""
        await self._wanted.wait()
        relay = self._relay
        relay.dispatcher.enter()
        relay.is_draining = True
        self._listeners.close()
        for connection in list(self._register.connections):
            if connection.speaker is not None:
                connection.speaker.close_when_idle()
        for _ in range(int(relay.limits.drain_timeout * LOOKS_PER_SECOND)):
            if not self._register.connections:
                return
            await asyncio.sleep(1 / LOOKS_PER_SECOND)
        relay.dispatcher.enter()
        self._register.cut(Reason.DRAINING)
        await asyncio.sleep(0)  # a turn, in which they are closed
