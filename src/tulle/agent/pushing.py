"""Sends metrics away, where the mesh says so: one task takes samples, another sends what waits."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import tulle
from tulle.agent.metrics import PushCounts, exposition
from tulle.agent.node import Node
from tulle.agent.outbox import Letter, Outbox
from tulle.agent.signal import Signal
from tulle.http.async_client import AsyncUnixConnection, ResponseError
from tulle.store.spool import Spool
from tulle.telemetry.delivery import Drop, Later, Outcome, Refused, Taken, pause
from tulle.telemetry.exposition import samples
from tulle.telemetry.ledger import Ledger, repeat_seconds
from tulle.telemetry.receiver import Receiver
from tulle.telemetry.remote_write import HEADERS, bodies
from tulle.wire.sinks import PushSink
from tulle.wire.status import PushLine

log = logging.getLogger("tulle.push")

SCRAPE_SECONDS = 5.0
BETWEEN_SECONDS = 0.2
"""What has piled up leaves at five requests a second at most."""


def _chance() -> float:
    """0 to 1. The library `random` would cost more than this needs."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


Sleep = Callable[[float], Awaitable[object]]


class Pusher:
    """Pushes to one receiver, until its task is cancelled."""

    def __init__(
        self,
        sink: PushSink,
        node: Node,
        admin: Path,
        spool: Path,
        started: float,
        *,
        now: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
        chance: Callable[[], float] = _chance,
    ) -> None:
        self.counts = PushCounts()
        self._sink = sink
        self._node = node
        self._admin = admin
        self._started = started
        self._now = now
        self._sleep = sleep
        self._chance = chance
        host = os.uname().nodename
        self._labels = {"job": "tulle", "instance": host, "node": host, "mesh": node.ground.mesh, **sink.labels}
        self._receiver = Receiver(sink, f"tulle/{tulle.__version__}", now)
        self._spool = Spool(spool, sink.spool_bytes)
        self._outbox = Outbox(self._spool, sink.spool_seconds, self._lost)
        self._ledger = Ledger(repeat_seconds(sink.interval))
        self._put = Signal()
        self._failing_since = 0.0
        self._why = ""
        self._has_lost = False
        """Since the receiver last took something: it must be told all anew."""

    async def run(self) -> None:
        """Never returns; what waits when it is cancelled is kept."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sample())
                group.create_task(self._deliver())
        finally:
            self._receiver.close()
            self._outbox.close()

    def line(self) -> PushLine:
        """For the status."""
        waiting, octets = self._outbox.waiting()
        return PushLine(
            url=self._sink.url,
            failing_since=self._failing_since,
            why=self._why,
            last_success=self.counts.last_success,
            waiting_samples=waiting,
            waiting_bytes=octets,
            dropped={str(reason): count for reason, count in sorted(self.counts.dropped.items())},
            notes=(*self._spool.notes, *([self._outbox.trouble] if self._outbox.trouble else [])),
        )

    def metrics(self) -> str:
        """The agent's own."""
        return exposition(self._node, self.counts, self._outbox.waiting(), self._started)

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        due, share = loop.time(), 0.5 + self._chance() / 2  # boxes that lost their power together do not push together
        while True:
            at_ms = int(self._now() * 1000)
            found = samples(await self._scraped() + self.metrics())
            self._outbox.put(bodies(self._ledger.points(at_ms, found), self._labels))
            self._put.set()
            due, share = max(due + share * self._sink.interval, loop.time()), 1.0
            await self._sleep(due - loop.time())

    async def _scraped(self) -> str:
        """The proxy's; nothing when it does not answer, which ends its series as a scrape that failed would."""
        try:
            reply = await AsyncUnixConnection(self._admin, timeout=SCRAPE_SECONDS).request("GET", "/metrics")
        except (OSError, TimeoutError, ResponseError):
            return ""
        return reply.body.decode() if reply.is_ok else ""

    async def _deliver(self) -> None:
        failures = 0
        while True:
            count = self._put.count
            letter = self._outbox.next(self._now())
            if letter is None:
                await self._put.past(count)
                continue
            outcome = await self._receiver.send(letter.octets, HEADERS)
            failures = failures + 1 if isinstance(outcome, Later) else 0
            self._settle(letter, outcome)
            if isinstance(outcome, Later):
                seconds = pause(failures, self._chance()) if outcome.seconds is None else outcome.seconds
                await self._sleep(seconds)
            else:
                await self._sleep(BETWEEN_SECONDS)

    def _settle(self, letter: Letter, outcome: Outcome) -> None:
        counts = self.counts
        counts.octets += len(letter.octets)
        counts.requests[type(outcome).__name__.lower()] += 1
        match outcome:
            case Taken():
                self._outbox.done(letter)
                counts.sent += letter.samples
                counts.last_success = self._now()
                self._say("")
                if self._has_lost:
                    self._has_lost = False
                    self._ledger.forget()
            case Refused(why):
                self._outbox.done(letter)
                self._lost(Drop.REFUSED, letter.samples)
                self._say(f"refused: {why}")
            case Later(why):
                self._outbox.keep()
                self._say(why)

    def _lost(self, why: Drop, count: int) -> None:
        self.counts.dropped[str(why)] += count
        self._has_lost = True
        if why is not Drop.REFUSED:
            log.warning("%d samples dropped: %s", count, why)

    def _say(self, why: str) -> None:
        """Once each time that it changes, in the log."""
        if why and why != self._why:
            log.warning("%s: %s", self._sink.url, why)
        elif self._why and not why:
            log.info("%s takes metrics again", self._sink.url)
        if not why:
            self._failing_since = 0.0
        elif not self._failing_since:
            self._failing_since = self._now()
        self._why = why
