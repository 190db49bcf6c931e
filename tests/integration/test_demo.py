"""The demo ends well, says what it promised, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import eventually

ROOT = Path(__file__).resolve().parents[2]
DOOR = 18080
pytestmark = pytest.mark.timeout(180)


def demo(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tools.demo", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def scratches() -> set[Path]:
    return set(Path("/tmp").glob("tulle-demo-*"))


def test_the_demo_ends_well_and_leaves_nothing() -> None:
    before = scratches()

    with demo("--seconds", "5") as run:
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
    assert not is_open(DOOR)
    assert scratches() == before


def test_an_interrupted_demo_takes_everything_down() -> None:
    before = scratches()
    with demo("--seconds", "60") as run:
        assert run.stdout is not None
        said = []
        for line in run.stdout:
            said.append(line)
            if line.startswith("load:"):
                break
        assert is_open(DOOR), said

        os.kill(run.pid, signal.SIGINT)

        run.communicate(timeout=60)
    assert run.returncode != 0
    eventually(lambda: not is_open(DOOR), 5, "the door closed")
    assert scratches() == before


def test_a_taken_door_ends_the_demo_before_anything_starts() -> None:
    before = scratches()
    with socket.create_server(("127.0.0.1", DOOR)), demo("--seconds", "5") as run:
        said, _ = run.communicate(timeout=60)

    assert run.returncode != 0
    assert f"port {DOOR} is not free" in said
    assert scratches() == before
