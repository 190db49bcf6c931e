"""A child that works and takes its memory along."""

import os
import resource
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tulle.kit.aside import Killed, aside


def test_what_a_child_makes_comes_whole_however_large() -> None:
    made = os.urandom(1 << 20) * 3

    assert aside(lambda: made) == made
    assert aside(lambda: b"") == b""


def test_what_a_child_changes_is_its_own() -> None:
    changed: list[int] = []

    def work() -> bytes:
        changed.append(os.getpid())
        return str(changed[0]).encode()

    assert aside(work) != str(os.getpid()).encode()
    assert changed == []


def test_a_child_that_fails_has_made_nothing() -> None:
    def fails() -> bytes:
        raise ValueError

    assert aside(fails) is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_is_killed_is_named_by_its_signal(number: int) -> None:
    def is_killed() -> bytes:
        os.kill(os.getpid(), number)
        return b"never"

    with pytest.raises(Killed, match=f"signal {int(number)}, {signal.strsignal(number)}"):
        aside(is_killed)


def test_a_child_without_memory_counts_as_killed_for_it() -> None:
    def takes_too_much() -> bytes:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20), used + (16 << 20)))
        return bytes(1 << 30)

    with pytest.raises(Killed, match=f"signal {int(signal.SIGKILL)}"):
        aside(takes_too_much)


def test_a_child_ends_with_its_parent() -> None:
    def waits(pipe: int) -> None:
        def work() -> bytes:
            os.write(pipe, b"begun")
            signal.pause()
            return b"never"

        aside(work)

    with parent(waits) as (pid, pipe):
        assert os.read(pipe, 5) == b"begun"
        os.kill(pid, signal.SIGKILL)

        assert has_ended(pipe)


def test_a_child_whom_nobody_listens_to_any_more_ends_and_so_does_its_parent() -> None:
    def leaves(number: int, frame: object) -> None:
        raise InterruptedError

    def is_interrupted(pipe: int) -> None:
        def work() -> bytes:
            os.kill(os.getppid(), signal.SIGUSR1)
            return bytes(1 << 20)

        signal.signal(signal.SIGUSR1, leaves)
        aside(work)

    with parent(is_interrupted) as (_, pipe):
        assert has_ended(pipe)


@contextmanager
def parent(work: Callable[[int], None]) -> Iterator[tuple[int, int]]:
    """Another process at work, and the end of a pipe whose other end it and its children hold."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            os.close(ours)
            work(theirs)
        finally:
            os._exit(1)
    os.close(theirs)
    try:
        yield pid, ours
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ours)


def has_ended(pipe: int) -> bool:
    """Whether nobody holds the other end any more, after a while at most."""
    return bool(select.select([pipe], [], [], 10.0)[0]) and os.read(pipe, 1) == b""
