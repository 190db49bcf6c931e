"""`tulle top` on a terminal: a live table on a screen of its own, which ctrl-C gives back."""

import contextlib
import fcntl
import itertools
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.support.fake_mesh import fake_mesh

WITHIN = 20.0
OWN_TERMINAL = "import os, sys; os.login_tty(0); from tulle.cli.main import main; main(sys.argv[1:])"
PAIR = 'source="default/web",destination="default/orders",version="v1"'


def exposition(requests: int, failed: int = 0) -> str:
    """What the proxy counted of one pair."""
    return (
        f'tulle_requests_total{{{PAIR},response_class="2xx"}} {requests - failed}\n'
        f'tulle_requests_total{{{PAIR},response_class="5xx"}} {failed}\n'
        f'tulle_request_duration_seconds_bucket{{{PAIR},le="0.005"}} {requests}\n'
        f'tulle_request_duration_seconds_bucket{{{PAIR},le="+Inf"}} {requests}\n'
    )


class Terminal:
    """A command that believes it talks to a person."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.seen = b""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWN_TERMINAL, *words],
            stdin=slave, stdout=slave, stderr=slave, env=environment | {"TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def until(self, holds: Callable[[bytes], bool], what: str, meanwhile: Callable[[], object] = int) -> None:
        """Reads until what was shown since the last call holds; does something before each look."""
        seen = b""
        end = time.monotonic() + WITHIN
        while not holds(seen):
            assert time.monotonic() < end, f"never shown: {what}; but {seen[-2000:]!r}"
            meanwhile()
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    seen += os.read(self.master, 65536)
                except OSError:  # its end
                    break
        assert holds(seen), f"never shown: {what}; but {seen[-2000:]!r}"
        self.seen += seen

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)


def test_top_draws_anew_on_a_screen_of_its_own_and_gives_it_back(tmp_path: Path) -> None:
    with fake_mesh(tmp_path, "drawn", {"metrics": exposition(0)}) as environment:
        draft, metrics, count = tmp_path / "draft", tmp_path / "answers" / "metrics", itertools.count(1)

        def calls(failed_of_hundred: int) -> None:
            """A hundred more requests."""
            number = next(count)
            draft.write_text(exposition(100 * number, failed_of_hundred * number))
            draft.replace(metrics)

        with Terminal(["top", "--interval", "0.2"], environment) as terminal:
            terminal.until(lambda seen: b"\x1b[?1049h" in seen and b"SUCCESS" in seen, "the screen and its header")
            terminal.until(lambda seen: b"100.00 %" in seen, "the pair", lambda: calls(0))
            terminal.until(lambda seen: b"50.00 %" in seen, "the pair as it is next", lambda: calls(50))
            terminal.press(b"\x03")
            terminal.until(lambda seen: b"\x1b[?1049l" in seen and b"interrupted" in seen, "the old screen")

            assert b"default/orders" in terminal.seen
            assert b"Traceback" not in terminal.seen
            assert terminal.process.wait(WITHIN) == 130


def test_top_says_why_it_ends_when_the_mesh_does(tmp_path: Path) -> None:
    with contextlib.ExitStack() as mesh:
        environment = mesh.enter_context(fake_mesh(tmp_path, "ended", {"metrics": exposition(0)}))
        with Terminal(["top", "--interval", "0.2"], environment) as terminal:
            terminal.until(lambda seen: b"SUCCESS" in seen, "the header")
            mesh.close()
            terminal.until(lambda seen: b"agent-silent" in seen, "why")

            assert terminal.seen.index(b"\x1b[?1049l") < terminal.seen.index(b"agent-silent")
            assert terminal.process.wait(WITHIN) == 1
