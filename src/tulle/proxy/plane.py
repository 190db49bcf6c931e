"""Puts snapshots in force: decoded and laid out beside the old one, then swapped."""

from collections.abc import Callable

import msgspec

from tulle.core.tables import InconsistentSnapshot, build_tables
from tulle.kit.collector import no_collection
from tulle.proxy.arrival import Register
from tulle.proxy.control import Listeners
from tulle.proxy.dial import Dialer
from tulle.proxy.memory import SnapshotMemory, TooLarge
from tulle.proxy.relay import Relay
from tulle.proxy.telemetry import Telemetry
from tulle.proxy.upstream import Pools
from tulle.wire.snapshot import Snapshot, decode_snapshot


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
        self.snapshot: Snapshot | None = None
        self._relay = relay
        self._pools = pools
        self._dialer = dialer
        self._listeners = listeners
        self._telemetry = telemetry
        self._memory = memory
        self._register = register
        self._report = report
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
            self._put_in_force(decode_snapshot(text))
        except (msgspec.MsgspecError, InconsistentSnapshot):
            return False
        return True

    def apply(self, text: bytes) -> int:
        """Puts a snapshot in force and remembers it; returns its generation. Raises RefusedSnapshot."""
        counted = self._relay.counters.snapshots
        try:
            with no_collection():
                snapshot = decode_snapshot(text)
                self._put_in_force(snapshot)
        except (msgspec.MsgspecError, InconsistentSnapshot) as fault:
            counted["refused"] += 1
            raise RefusedSnapshot(str(fault)) from fault
        counted["accepted"] += 1
        self._remember(text, snapshot.generation)
        return snapshot.generation

    def _remember(self, text: bytes, generation: int) -> None:
        self.warning = ""
        if not self.remembers:
            return
        try:
            self._memory.store(text)
        except (TooLarge, OSError) as fault:
            self.warning = (
                f"generation {generation} is in force but not remembered ({fault}): "
                "a proxy started anew serves an older one until the agent has told it"
            )
            self._report(self.warning)

    def _put_in_force(self, snapshot: Snapshot) -> None:
        relay = self._relay
        tables = build_tables(snapshot, relay.tables)
        self._listeners.mark_ready(tables)
        relay.dispatcher.enter()
        relay.adopt(tables)
        relay.account(snapshot.access_log, snapshot.tracing)
        endpoints = set(tables.endpoints.values())
        self._pools.keep_only(endpoints)
        self._dialer.keep_only(endpoints)
        self._dialer.connect_timeout = snapshot.limits.connect_timeout
        self._telemetry.generation = snapshot.generation
        self.snapshot = snapshot
        self._listeners.open()
        self._register.judge_again()
