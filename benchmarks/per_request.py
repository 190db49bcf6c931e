"""What one more request adds to a count: two windows of N and 2N requests, and their difference divided by N."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic, NamedTuple, Protocol, TypeVar

from benchmarks.counted import Group
from benchmarks.tulle import start_tulle

Window_co = TypeVar("Window_co", covariant=True)
Window = TypeVar("Window")


class Tool(Protocol[Window_co]):
    """Counts something in a process."""

    under: tuple[str, ...]
    """The words of the program that runs the process; none where it is run as ever."""
    environment: dict[str, str]

    def window(self, pid: int, act: Callable[[], None]) -> Window_co:
        """What the process adds while `act` runs."""


class Windows(NamedTuple, Generic[Window]):
    """Two windows of one variant."""

    case: str
    requests: int
    """In the first; the second has twice as many."""
    first: Window
    second: Window


def count(
    group: Group,
    sources: Path,
    variants: tuple[str, ...],
    make_tool: Callable[[Path], Tool[Window]],
    requests: int,
) -> Iterator[Windows[Window]]:
    """The windows of each variant asked for, of one proxy started from `sources`."""
    with ExitStack() as started:
        work = Path(started.enter_context(TemporaryDirectory(prefix="tulle-count-")))
        tool = make_tool(work)
        ends = group.start(started, work)
        environment = {"PYTHONHASHSEED": "0", **tool.environment}
        target = start_tulle(started, work, ends.traffic, "tulle", sources, tool.under, environment)
        assert target.pid is not None
        for variant in variants:

            def run(number: int, variant: str = variant) -> None:
                ends.run(target.port, variant, number)

            run(requests // 2)
            first = tool.window(target.pid, lambda: run(requests))
            second = tool.window(target.pid, lambda: run(2 * requests))
            yield Windows(group.case(variant), requests, first, second)


def difference(first: Mapping[str, int], second: Mapping[str, int], requests: int) -> dict[str, float]:
    """By name, what each request of the second window added that the first did not have. What is the same in both, as the counter's own part, is gone."""
    names = dict.fromkeys((*first, *second))
    return {name: (second.get(name, 0) - first.get(name, 0)) / requests for name in names}
