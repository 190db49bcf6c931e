"""Guides that need nothing but a mesh, or a mesh and podman, typed in from top to bottom."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.guides import is_shown, typed, write_files
from tests.support.images import own_storage
from tests.support.processes import eventually
from tests.support.running import TULLE

GUIDES = Path(__file__).parents[2] / "docs/guides"
LOOKING = re.compile(r"(curl|tulle (status|logs|top|tap|why|history|get))\b")
"""Commands that change nothing: what they show may take a moment to be so."""
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def desk() -> Iterator[Path]:
    """A directory called `hall`, where root's pods and their users may read."""
    directory = Path(tempfile.mkdtemp(prefix="tulle-guide-", dir="/var/tmp"))
    directory.chmod(0o755)
    (directory / "hall").mkdir()
    try:
        yield directory / "hall"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run(command: str, desk: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    given = {**os.environ, **environment, "PATH": f"{TULLE.parent}:{os.environ['PATH']}", "NO_PROXY": "*"}
    for kind in ("RUNTIME", "STATE"):
        given[f"TULLE_{kind}_DIR"] = str(desk.parent / kind.lower())
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=desk, env=given, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def follow(name: str, desk: Path, environment: Mapping[str, str]) -> None:
    """Types every command of a guide, and holds the guide to what it shows."""
    text = (GUIDES / name).read_text()
    write_files(text, desk)
    try:
        for command, shown in typed(text):
            expected = 1 if command.endswith("# exits 1") else 0
            said: list[tuple[int, str]] = []

            def is_so(command: str = command, shown: list[str] = shown, code: int = expected) -> bool:
                said.append(run(command, desk, environment))  # noqa: B023  (asked and done within one turn)
                return said[-1][0] == code and (not shown or is_shown(said[-1][1], shown))  # noqa: B023

            if not is_so() and LOOKING.match(command):
                eventually(is_so, 20, f"{command}\n{said[-1][1]}\nshown:\n" + "\n".join(shown))
            else:
                shows = "\n".join(shown)
                assert said[-1][0] == expected, f"{command}\n{said[-1][1]}"
                assert not shown or is_shown(said[-1][1], shown), f"{command}\n{said[-1][1]}\nshown:\n{shows}"
    finally:
        run("tulle down --mesh hall", desk, environment)


@pytest.mark.parametrize("name", ["lock-down.md", "canary.md"])
def test_every_command_does_what_the_guide_shows(name: str, desk: Path) -> None:
    assert len(typed((GUIDES / name).read_text())) >= 10

    follow(name, desk, {})


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: podman runs in pods of root's")
@pytest.mark.skipif(not shutil.which("podman"), reason="needs podman (Debian: podman)")
def test_every_command_of_the_guide_to_containers_does_what_it_shows(desk: Path) -> None:
    busybox = shutil.which("busybox")
    assert busybox, "busybox is missing: apt-get install busybox-static"
    with own_storage() as storage:
        follow("containers-and-compose.md", desk, storage.environment)
