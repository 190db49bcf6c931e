"""Hands what a proxy has counted to the one that takes its place, as long as both run.

The one that drains sends all its counts when it begins, whenever it is asked, and at its end. The other answers scrapes with
the sum, and once the first has ended counts on from there. Whole counts, not differences: what is lost with a process that
is killed is what it had counted since it was asked last.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine

import msgspec

from tulle.http.server import Handler, ServerLimits, serve
from tulle.proxy.counters import Counters
from tulle.proxy.drain import Drain
from tulle.proxy.estate import Estate, add, estate_of, sum_of
from tulle.proxy.loop import Dispatcher
from tulle.proxy.plane import Plane
from tulle.proxy.refusals import Refusals
from tulle.wire.status import Refusal

ANSWER_SECONDS = 1.0
"""A proxy that drains and does not answer by then is taken at its last word."""
_LENGTH = struct.Struct("!Q")
_MAX_BYTES = 256 << 20
_ASK = b"?"
_ONE_EACH = ServerLimits(keeps_alive=False)
"""A connection that is kept would go on asking the proxy that drains."""


class Tally:
    """The counters as they are now, with what only the dispatcher knows."""

    def __init__(self, counters: Counters, dispatcher: Dispatcher) -> None:
        self._counters = counters
        self._dispatcher = dispatcher
        self._defects = 0
        """Of the dispatcher's, counted already."""

    def __call__(self) -> Counters:
        counters, dispatcher = self._counters, self._dispatcher
        counters.defects += dispatcher.defects - self._defects
        self._defects = dispatcher.defects
        counters.held = dispatcher.held
        return counters


class Testator:
    """The side that drains."""

    def __init__(self, tally: Tally, refusals: Refusals) -> None:
        self._tally = tally
        self._refusals = refusals
        self._writer: asyncio.StreamWriter | None = None
        self._is_told = asyncio.Event()
        self._is_told.set()
        self._is_finished = False
        self._is_left = asyncio.Event()

    def expect(self) -> None:
        """There is somebody to be told, as soon as `serve` has got so far: what has nobody to serve may end before."""
        self._is_told.clear()

    async def serve(self, link: socket.socket) -> None:
        """Tells all that is counted now, and again for each question. Ends with the other side."""
        reader, writer = await asyncio.open_connection(sock=link)
        if self._writer:
            self._writer.close()
        self._writer = writer
        try:
            self._tell(writer)
            self._is_told.set()
            while await reader.read(64):
                if not self._is_finished:
                    self._tell(writer)
        except OSError:
            pass
        finally:
            writer.close()
            if self._writer is writer:
                self._is_left.set()

    async def finish(self) -> None:
        """The last word. The other side closes first: an end with a question unread is a reset, which overtakes the word."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._is_told.wait()
                writer = self._writer
                if writer is None or writer.is_closing():
                    return
                self._tell(writer)
                self._is_finished = True
                writer.write_eof()
                await self._is_left.wait()
        except (OSError, TimeoutError):
            return

    def _tell(self, writer: asyncio.StreamWriter) -> None:
        text = msgspec.json.encode(estate_of(self._tally(), self._refusals.found(None)))
        writer.write(_LENGTH.pack(len(text)) + text)


class Heir:
    """The side that goes on."""

    def __init__(self, tally: Tally, refusals: Refusals, report: Callable[[str], None]) -> None:
        self.settled = asyncio.Event()
        """It is known what was counted before, if anything was: scrapes may be answered."""
        self._tally = tally
        self._refusals = refusals
        self._report = report
        self._latest: Estate | None = None
        """Of a proxy that still drains."""
        self._heard = 0
        self._news = asyncio.Condition()
        self._writer: asyncio.StreamWriter | None = None

    async def receive(self, link: socket.socket) -> None:
        """Hears the one that drains to its end, and counts on from there."""
        reader, self._writer = await asyncio.open_connection(sock=link, limit=1 << 20)
        try:
            while True:
                (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                if length > _MAX_BYTES:
                    raise ValueError(f"{length} octets of counts")
                self._latest = msgspec.json.decode(await reader.readexactly(length), type=Estate)
                await self._hear()
        except (asyncio.IncompleteReadError, OSError):
            pass  # it has ended
        except (msgspec.MsgspecError, ValueError) as fault:
            self._report(f"the counts of the proxy before cannot be read: {fault}")
        finally:
            self._writer.close()
            self._writer = None
            self._go_on()
            await self._hear()

    async def counters(self) -> Counters:
        """Everything that is counted up to now, by both."""
        await self.settled.wait()
        if self._writer is not None:
            heard = self._heard
            self._writer.write(_ASK)
            try:
                async with asyncio.timeout(ANSWER_SECONDS), self._news:
                    await self._news.wait_for(lambda: self._heard > heard)
            except TimeoutError:
                pass
        counters = self._tally()
        return counters if self._latest is None else sum_of(counters, self._latest)

    async def refused(self, request_id: str | None) -> list[Refusal]:
        """What the proxy that drains, if there is one, has answered by itself."""
        await self.counters()
        kept = self._latest.refusals if self._latest is not None else []
        return [one for one in kept if request_id is None or one.id == request_id]

    def _go_on(self) -> None:
        latest, self._latest = self._latest, None
        if latest is not None:
            add(self._tally(), latest, is_over=True)
            self._refusals.take_over(latest.refusals)

    async def _hear(self) -> None:
        self._heard += 1
        self.settled.set()
        async with self._news:
            self._news.notify_all()


class Succession:
    """What changes when another proxy takes this one's place, and when this one takes another's."""

    def __init__(
        self,
        plane: Plane,
        drain: Drain,
        heir: Heir,
        testator: Testator,
        metrics: socket.socket,
        answer: Handler,
        tasks: asyncio.TaskGroup,
    ) -> None:
        """`metrics`: where `answer` answers scrapes, of one of the two only."""
        self._plane = plane
        self._drain = drain
        self._heir = heir
        self._testator = testator
        self._metrics = metrics
        self._answer = answer
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._is_retired = asyncio.Event()

    def begin(self, *, is_first: bool) -> None:
        """Answers scrapes as soon as it is known what was counted before: at once, when there was nobody."""
        if is_first:
            self._heir.settled.set()
        self._run(self._scrapes())

    def retire(self, seconds: float, link: socket.socket | None) -> None:
        """Another one serves, and hears by `link` what was counted here."""
        self._plane.remembers = False
        self._is_retired.set()
        self._drain.retire(seconds)
        if link is not None:
            self._testator.expect()
            self._run(self._testator.serve(link))

    def inherit(self, link: socket.socket | None) -> None:
        """This one serves, and hears by `link` what was counted before; by none: nothing, or nobody knows."""
        if link is None:
            self._heir.settled.set()
        else:
            self._run(self._heir.receive(link))

    def end(self) -> None:
        """Nothing of this goes on."""
        for task in self._running:
            task.cancel()

    async def _scrapes(self) -> None:
        await self._heir.settled.wait()
        await serve(self._metrics, self._answer, limits=_ONE_EACH, until=self._is_retired)

    def _run(self, work: Coroutine[object, object, None]) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
