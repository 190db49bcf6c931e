"""A child that works and takes its memory along."""

import os
import signal

from tulle.kit.aside import aside


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


def test_a_child_that_fails_or_is_killed_has_made_nothing() -> None:
    def fails() -> bytes:
        raise ValueError

    def is_killed() -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b"never"

    def is_ended() -> bytes:
        os.kill(os.getpid(), signal.SIGTERM)
        return b"never"

    assert [aside(work) for work in (fails, is_killed, is_ended)] == [None, None, None]
