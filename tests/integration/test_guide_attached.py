"""The guide to attached services, typed in from top to bottom; as root, since it speaks as several users."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guides import is_shown, typed, write_files
from tests.support.processes import eventually
from tests.support.programs import needs
from tests.support.running import TULLE

GUIDE = (Path(__file__).parents[2] / "docs/guides/attached-services.md").read_text()
pytestmark = [pytest.mark.skipif(os.getuid() != 0, reason="needs root: several users"), needs("curl")]


@pytest.fixture
def desk() -> Iterator[Path]:
    """Where root's pods and their users may read."""
    directory = Path(tempfile.mkdtemp(prefix="tulle-guide-", dir="/var/tmp"))
    directory.chmod(0o755)
    (directory / "hall").mkdir()
    try:
        yield directory / "hall"
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree("/run/tulle/hall", ignore_errors=True)


def run(command: str, desk: Path) -> tuple[int, str]:
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    given = {**kept, "PATH": f"{TULLE.parent}:{os.environ['PATH']}"}
    given["TULLE_STATE_DIR"] = str(desk.parent / "state")
    given.pop("TULLE_RUNTIME_DIR", None)  # the guide names the path where it is on a box
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=desk, env=given, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_every_command_does_what_the_guide_shows(desk: Path) -> None:
    for user in ("www-data", "games"):
        assert pwd.getpwnam(user)
    commands = typed(GUIDE)
    assert len(commands) >= 12
    write_files(GUIDE, desk)
    try:
        for command, shown in commands:
            if re.search(r"\bup\b|\bdown\b", command):
                code, said = run(command, desk)
                assert is_shown(said, shown), said
                assert code == 0, said
            else:
                heard: list[str] = []

                def is_so(command: str = command, shown: list[str] = shown, heard: list[str] = heard) -> bool:
                    heard.append(run(command, desk)[1])
                    return is_shown(heard[-1], shown)

                if not is_so():
                    eventually(is_so, 20, f"{command}\n{heard[-1]}\nshown:\n" + "\n".join(shown))
    finally:
        run("tulle down --mesh hall", desk)
    assert not Path("/run/tulle/hall.forward").exists()
