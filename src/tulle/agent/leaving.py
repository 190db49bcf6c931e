"""What leaves the node, as its mesh says it now. Costs no import while nothing does."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tulle.agent.metrics import exposition
from tulle.agent.node import Node
from tulle.store.database import NewerState
from tulle.wire.sinks import PushSink
from tulle.wire.status import PushLine

if TYPE_CHECKING:
    from tulle.agent.pushing import Pusher


class Leaving:
    """The push that runs, if one does."""

    def __init__(self, node: Node, admin: Path, spool: Path, started: float) -> None:
        self._node = node
        self._admin = admin
        self._spool = spool
        self._started = started
        self._pusher: Pusher | None = None
        self._why = ""
        """Why nothing can be pushed."""

    def line(self) -> PushLine | None:
        """For the status; None when nothing is pushed."""
        if self._pusher:
            return self._pusher.line()
        sink = self._node.sinks.push
        return PushLine(url=sink.url, failing_since=self._started, why=self._why) if sink and self._why else None

    def metrics(self) -> str:
        """The agent's own."""
        return self._pusher.metrics() if self._pusher else exposition(self._node, None, (0, 0), self._started)

    async def run(self) -> None:
        """Never returns. Another receiver, or other words about it, begin anew; what waits goes there."""
        while True:
            count, sink = self._node.changed.count, self._node.sinks.push
            if sink is None:
                await self._node.changed.past(count)
            else:
                await self._push(sink)

    async def _push(self, sink: PushSink) -> None:
        """Until the mesh says something else."""
        from tulle.agent.pushing import Pusher

        try:
            self._pusher = Pusher(sink, self._node, self._admin, self._spool, self._started)
        except NewerState as fault:
            self._why = str(fault)
            await self._until_not(sink)
            return
        try:
            async with asyncio.TaskGroup() as group:
                pushing = group.create_task(self._pusher.run())
                await self._until_not(sink)
                pushing.cancel()
        finally:
            self._pusher = None

    async def _until_not(self, sink: PushSink) -> None:
        while self._node.sinks.push == sink:
            await self._node.changed.past(self._node.changed.count)
