"""The push against clocks that jump and receivers that want patience. Time is the test's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.remote_write import read_request
from tests.support.scripted_receiver import OK, Scripted
from tulle.agent.candidate import Ground
from tulle.agent.node import Node
from tulle.agent.pushing import BETWEEN_SECONDS, Pusher
from tulle.store.revisions import Revisions
from tulle.wire.sinks import PushSink

START = 1_700_000_000.0
HASTE = 200
"""So many times faster are sleeps."""
YEARS = 300_000_000.0
BUSY = b"HTTP/1.1 503 Busy\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n"


class Time:
    """A second goes by with each look at the clock; a sleep is short, and remembered."""

    def __init__(self) -> None:
        self.at = START
        self.slept: list[float] = []

    def now(self) -> float:
        self.at += 1.0
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(seconds / HASTE)


class Pushing:
    """A pusher at work, its receiver, and its time."""

    def __init__(self, receiver: Scripted, time: Time, pusher: Pusher) -> None:
        self.receiver = receiver
        self.time = time
        self.pusher = pusher

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110  (the receiver is a thread's)
                await asyncio.sleep(0.001)

    def times(self) -> list[list[float]]:
        """Of each body that was sent, when its samples were taken."""
        return [
            sorted({sample.timestamp / 1000 for series in read_request(body).timeseries for sample in series.samples})
            for body in self.receiver.bodies
        ]


@pytest.fixture
async def push(tmp_path: Path) -> AsyncIterator[Callable[..., Pushing]]:
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.sleep, 0)  # what was closed last is let go of by the loop's next turn
        group = await stack.enter_async_context(asyncio.TaskGroup())

        def made(*script: bytes) -> Pushing:
            receiver, time = Scripted(*script, *[OK] * 100_000), Time()
            stack.push_async_callback(asyncio.to_thread, receiver.close)
            url = f"http://127.0.0.1:{receiver.port}/"
            sink = PushSink(url=url, interval=1.0, timeout=20.0, spool_bytes=1 << 20, spool_seconds=3600.0)
            node = Node(Ground("shop", (), "/", {}), Revisions(tmp_path / "tulle.db"), time.now)
            pusher = Pusher(
                sink,
                node,
                tmp_path / "no proxy",
                tmp_path / "spool.db",
                0.0,
                now=time.now,
                sleep=time.sleep,
                chance=lambda: 1.0,
            )
            task = group.create_task(pusher.run())
            stack.callback(task.cancel)
            return Pushing(receiver, time, pusher)

        yield made


async def test_a_clock_that_goes_back_keeps_nothing_from_leaving(push: Callable[..., Pushing]) -> None:
    one = push()
    await one.until(lambda: len(one.receiver.bodies) > 3)

    one.time.at -= YEARS

    await one.until(lambda: one.times()[-1][0] < START - YEARS / 2)
    sent = len(one.receiver.bodies)
    await one.until(lambda: len(one.receiver.bodies) > sent + 3)
    assert one.pusher.line().dropped == {}


async def test_a_clock_that_leaps_ahead_costs_what_waits_and_no_more(push: Callable[..., Pushing]) -> None:
    one = push(*[BUSY] * 5)
    await one.until(lambda: one.pusher.line().waiting_samples > 0)

    one.time.at += YEARS

    await one.until(lambda: one.pusher.counts.sent > 0)
    assert one.pusher.line().dropped.keys() == {"too-old"}
    taken = one.times()[5:]
    assert all(first > START + YEARS / 2 for first, *_ in taken)


async def test_what_piled_up_leaves_in_order_and_not_at_once(push: Callable[..., Pushing]) -> None:
    one = push(*[BUSY] * 20)

    await one.until(lambda: one.pusher.counts.sent > 0 and not one.pusher.line().waiting_samples)

    assert one.time.slept.count(17.0) == 20, "as the receiver asked"
    taken = [last for *_, last in one.times()[20:]]
    assert len(taken) > 5
    assert taken == sorted(taken)
    assert one.time.slept.count(BETWEEN_SECONDS) >= len(taken) - 1


async def test_after_a_refusal_everything_is_told_anew(push: Callable[..., Pushing]) -> None:
    one = push(OK, REFUSED)
    await one.until(lambda: len(one.receiver.bodies) > 8)

    first, *others = [
        {tuple(map(str, one.labels)) for one in read_request(body).timeseries} for body in one.receiver.bodies
    ]
    assert one.pusher.line().dropped == {"refused": one.pusher.counts.dropped["refused"]}
    assert one.pusher.counts.dropped["refused"] > 0
    assert any(first <= other for other in others[1:]), "a later body tells every series again"
    assert one.pusher.line().why == ""
