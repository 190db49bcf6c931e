"""Puts snapshots in force: decoded and laid out beside the old one, between the events of the loop, then swapped."""

import asyncio
from collections.abc import Callable

import msgspec

from tulle.core.pieces import at_once
from tulle.core.tables import InconsistentSnapshot, Tables, lay_out, let_go, text_of
from tulle.kit.collector import count_as_old, no_collection
from tulle.kit.heap import give_back
from tulle.proxy.arrival import Register
from tulle.proxy.control import Listeners
from tulle.proxy.dial import Dialer
from tulle.proxy.memory import SnapshotMemory, TooLarge
from tulle.proxy.relay import Relay
from tulle.proxy.slices import sliced
from tulle.proxy.telemetry import Telemetry
from tulle.proxy.upstream import Pools
from tulle.proxy.wheel import Alarm

REST_SECONDS = 1.0
"""After a swap, until what it took is given back to the box: by then the request that brought it is answered."""
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, InconsistentSnapshot)


class RefusedSnapshot(ValueError):
    """The snapshot cannot be served; nothing has changed. The text says why."""


class Plane:
    """The snapshot in force and those who must know of a new one."""

    def __init__(
        self,
        relay: Relay,
        pools: Pools,
        dialer: Dialer,
        listeners: Listeners,
        telemetry: Telemetry,
        memory: SnapshotMemory,
        register: Register,
        report: Callable[[str], None],
    ) -> None:
        self._relay = relay
        self._pools = pools
        self._dialer = dialer
        self._listeners = listeners
        self._telemetry = telemetry
        self._memory = memory
        self._register = register
        self._report = report
        self._turn = asyncio.Lock()
        self.remembers = True
        """False once another proxy serves: it remembers for both."""
        self.warning = ""
        """Set while what is in force is not what a proxy started anew would serve."""

    def restore(self) -> bool:
        """Serves what an earlier proxy of this supervisor last served. False: nothing is remembered, or it is of no use."""
        text = self._memory.load()
        if text is None:
            return False
        try:
            self._put_in_force(at_once(lay_out(text)))
        except UNREADABLE:
            return False
        return True

    async def apply(self, text: bytes) -> int:
        """Puts a snapshot in force and remembers it; returns its generation. Raises RefusedSnapshot.

        One that comes while another is made ready waits for its turn: they come into force in the order they came.
        """
        async with self._turn:
            relay = self._relay
            counted = relay.counters.snapshots
            before = relay.tables
            try:
                tables = await self._made(text, before)
            except UNREADABLE as fault:
                counted["refused"] += 1
                raise RefusedSnapshot(str(fault)) from fault
            self._put_in_force(tables)
            counted["accepted"] += 1
            await self._remember(text, tables.generation)
            if before is not None:
                await sliced(relay.dispatcher, self._register.renewing())
                leaving = let_go(before)
                del before
                await sliced(relay.dispatcher, leaving)
            rest = Alarm(relay.dispatcher.now + REST_SECONDS, _give_back)
            relay.dispatcher.soon(rest, rest.deadline)
            return tables.generation

    def text(self) -> bytes | None:
        """The snapshot in force; None: there is none yet."""
        tables = self._relay.tables
        return text_of(tables) if tables is not None else None

    async def _made(self, text: bytes, before: Tables | None) -> Tables:
        making = lay_out(text, before)
        with no_collection():
            tables = at_once(making) if before is None else await sliced(self._relay.dispatcher, making)
            count_as_old()
            return tables

    async def _remember(self, text: bytes, generation: int) -> None:
        self.warning = ""
        if not self.remembers:
            return
        try:
            await sliced(self._relay.dispatcher, self._memory.storing(text))
        except (TooLarge, OSError) as fault:
            self.warning = (
                f"generation {generation} is in force but not remembered ({fault}): "
                "a proxy started anew serves an older one until the agent has told it"
            )
            self._report(self.warning)

    def _put_in_force(self, tables: Tables) -> None:
        relay = self._relay
        self._listeners.mark_ready(tables)
        relay.dispatcher.enter()
        relay.adopt(tables)
        relay.account(tables.access_log, tables.tracing)
        endpoints = set(tables.endpoints.values())
        self._pools.keep_only(endpoints)
        self._dialer.keep_only(endpoints)
        self._dialer.connect_timeout = tables.limits.connect_timeout
        self._telemetry.generation = tables.generation
        self._listeners.open()
        self._register.judge_again()


def _give_back(now: float) -> None:
    give_back()
