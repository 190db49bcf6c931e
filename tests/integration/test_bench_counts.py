"""What is counted per request is what a proxy really does: windows of a real one, under each of the tools."""

from collections.abc import Callable
from pathlib import Path

import hatch_build
from benchmarks.allocations import Allocations
from benchmarks.callgrind import Callgrind
from benchmarks.counted import GROUPS, Group
from benchmarks.per_request import Tool, Window, Windows, count, difference
from benchmarks.strace import Strace
from tests.support.programs import needs

pytestmark = needs("cc", "strace", "taskset", "valgrind")

HTTP1, GRPC, TCP = GROUPS
SOURCES = hatch_build.ROOT / "src"


def counted(group: Group, variant: str, make_tool: Callable[[Path], Tool[Window]], requests: int) -> Windows[Window]:
    [windows] = count(group, SOURCES, (variant,), make_tool, requests)
    return windows


def test_a_request_is_two_waits_two_reads_and_two_sends() -> None:
    windows = counted(HTTP1, "repeat", Strace, 64)

    calls = difference(windows.first, windows.second, windows.requests)

    assert {name: round(calls[name], 1) for name in ("epoll_wait", "recvfrom", "sendto")} == {
        "epoll_wait": 2.0,
        "recvfrom": 2.0,
        "sendto": 2.0,
    }


def test_calls_that_come_together_share_their_system_calls() -> None:
    windows = counted(GRPC, "repeat", Strace, 640)

    calls = difference(windows.first, windows.second, windows.requests)

    assert 1 / 32 <= calls["sendto"] < 1


def test_a_connection_is_accepted_and_dialled_once() -> None:
    windows = counted(TCP, "connect", Strace, 32)

    calls = difference(windows.first, windows.second, windows.requests)

    assert round(calls["connect"], 1) >= 1
    assert round(calls["socket"], 1) == 1


def test_heads_that_differ_need_more_blocks() -> None:
    repeat, differ = (
        sum(difference(windows.first, windows.second, windows.requests).values())
        for variant in ("repeat", "differ")
        for windows in [counted(HTTP1, variant, Allocations, 64)]
    )

    assert 0 < repeat < differ


def test_a_profile_names_the_functions_of_the_interpreter() -> None:
    windows = counted(HTTP1, "minimal", Callgrind, 32)

    costs = difference(windows.first.instructions, windows.second.instructions, windows.requests)

    assert costs["_PyEval_EvalFrameDefault"] > 1000
    assert windows.second.calls["_PyEval_EvalFrameDefault"] > windows.first.calls["_PyEval_EvalFrameDefault"]
