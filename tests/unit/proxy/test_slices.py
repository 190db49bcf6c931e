"""Long work goes on behind the events of each turn, and ends with what it returns or raises."""

import asyncio
from collections.abc import Generator

import pytest

from tulle.proxy.loop import Dispatcher
from tulle.proxy.selector import RelaySelector
from tulle.proxy.slices import sliced


def counted(steps: list[int], dispatcher: Dispatcher, number: int) -> Generator[None, None, str]:
    """Notes the turn of each step."""
    for _ in range(number):
        steps.append(dispatcher.turns)
        yield
    return "done"


def run(work: Generator[None, None, str], dispatcher: Dispatcher, slice_: float) -> str:
    async def wait() -> str:
        return await sliced(dispatcher, work, slice_)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(RelaySelector(dispatcher))) as runner:
        return runner.run(wait())


def test_work_is_done_a_slice_in_each_turn() -> None:
    dispatcher = Dispatcher(pytest.fail)
    steps: list[int] = []
    assert run(counted(steps, dispatcher, 5), dispatcher, 0.0) == "done"
    assert [step - steps[0] for step in steps] == [0, 1, 2, 3, 4]


def test_a_slice_takes_as_many_steps_as_there_is_time_for() -> None:
    dispatcher = Dispatcher(pytest.fail)
    steps: list[int] = []
    assert run(counted(steps, dispatcher, 5), dispatcher, 60.0) == "done"
    assert len(set(steps)) == 1


def test_a_fault_is_told_to_who_waits_and_is_no_defect() -> None:
    def fail() -> Generator[None, None, str]:
        yield
        raise ValueError("spoilt")

    dispatcher = Dispatcher(pytest.fail)
    with pytest.raises(ValueError, match="spoilt"):
        run(fail(), dispatcher, 0.0)
    assert dispatcher.defects == 0


def test_work_that_nobody_waits_for_ends() -> None:
    dispatcher = Dispatcher(pytest.fail)
    ended: list[int] = []

    def endless() -> Generator[None, None, None]:
        try:
            while True:
                yield
        finally:
            ended.append(dispatcher.turns)

    async def give_up() -> None:
        async with asyncio.timeout(0.01):
            await sliced(dispatcher, endless(), 0.0)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(RelaySelector(dispatcher))) as runner:
        with pytest.raises(TimeoutError):
            runner.run(give_up())
        runner.run(asyncio.sleep(0))
    assert len(ended) == 1
    assert dispatcher.wait() > 0.0
