"""The demo ends well, says what it promised, and leaves nothing behind."""

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.processes import eventually
from tests.support.running import example, free_ports

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Shop:
    """The demo's mesh at a port that is free, with a place of its own: two runs of these tests may go side by side."""

    home: Path
    door: int
    scratch: Path

    def left(self) -> list[Path]:
        """What the demo has left behind."""
        return list(self.scratch.iterdir())


@pytest.fixture
def shop() -> Iterator[Shop]:
    with example("shop", free_ports(18080)) as (home, ports), tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        yield Shop(home, ports[18080], Path(scratch))


def demo(shop: Shop, *words: str, stdout: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    places = ("--mesh-file", str(shop.home / "mesh.yaml"), "--scratch", str(shop.scratch))
    return subprocess.Popen(
        [sys.executable, "-m", "tools.demo", *places, *words],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def said_until(run: "subprocess.Popen[str]", start: str) -> list[str]:
    """The lines up to the first that starts so, or all."""
    assert run.stdout is not None
    said = []
    for line in run.stdout:
        said.append(line)
        if line.startswith(start):
            break
    return said


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_demo_ends_well_and_leaves_nothing(shop: Shop) -> None:
    with demo(shop, "--seconds", "5") as run:
        said, _ = run.communicate(timeout=120)

    assert run.returncode == 0, said
    for promised in (
        "95 % interval",
        "p50",
        "dev/spy → prod/payments",
        "dev-never-in-prod",
        "0 of ",
        "PSS",
        "tulle top",
    ):
        assert promised in said, said
    assert not is_open(shop.door)
    assert shop.left() == []


def test_an_interrupted_demo_takes_everything_down(shop: Shop) -> None:
    with demo(shop, "--seconds", "60") as run:
        said = said_until(run, "load:")
        assert is_open(shop.door), said

        os.kill(run.pid, signal.SIGINT)

        run.communicate(timeout=60)
    assert run.returncode != 0
    eventually(lambda: not is_open(shop.door), 5, "the door closed")
    assert shop.left() == []


def test_a_demo_that_is_kept_stays_up_until_it_is_interrupted(shop: Shop) -> None:
    with demo(shop, "--seconds", "3", "--keep") as run:
        said = said_until(run, "it stays up")
        with urlopen(said[-1].split()[-1], timeout=10) as page:
            assert page.status == 200

        os.kill(run.pid, signal.SIGINT)

        run.communicate(timeout=60)
    assert run.returncode == 0, said
    eventually(lambda: not is_open(shop.door), 5, "the door closed")
    assert shop.left() == []


def test_a_demo_that_is_kept_ends_when_the_mesh_is_taken_down(shop: Shop) -> None:
    with demo(shop, "--seconds", "3", "--keep") as run:
        said = said_until(run, "it stays up")
        places = next(line for line in said if "export TULLE_RUNTIME_DIR=" in line).split()[1:]
        down = [str(Path(sys.executable).with_name("tulle")), "down"]
        subprocess.run(down, env={**os.environ, **dict(one.split("=", 1) for one in places)}, check=True, timeout=60)

        run.communicate(timeout=60)
    assert run.returncode == 0, said


def test_on_a_terminal_the_table_lives_while_the_load_runs(shop: Shop) -> None:
    terminal, its_end = pty.openpty()
    with demo(shop, "--seconds", "4", stdout=its_end):
        os.close(its_end)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the last writer has gone
            while octets := os.read(terminal, 65536):
                shown += octets
    os.close(terminal)
    alive = shown.decode().partition("load:")[2].partition("directly on this host")[0]
    frames = [frame for frame in alive.split("from") if re.search(r"default/web +default/orders +v1 +[1-9]", frame)]
    assert len(frames) >= 2, alive
    assert "dev/spy" in frames[-1]


def test_a_taken_door_ends_the_demo_before_anything_starts(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", shop.door)), demo(shop, "--seconds", "5") as run:
        said, _ = run.communicate(timeout=60)

    assert run.returncode != 0
    assert said.count("\n") == 1
    assert f"port {shop.door} is not free (Address already in use); end " in said
    assert f"(pid {os.getpid()})" in said
    assert shop.left() == []
