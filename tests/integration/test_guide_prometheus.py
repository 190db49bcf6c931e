"""The guide to Prometheus and Grafana, typed in from top to bottom."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guides import is_shown, typed, write_files
from tests.support.processes import eventually, is_running
from tests.support.programs import needs
from tests.support.running import TULLE
from tools.ports import free_port

GUIDE = Path(__file__).parents[2] / "docs/guides/prometheus-and-grafana.md"
LOOKING = re.compile(r"(curl -s http|promtool query|tulle status)")
"""Commands that change nothing: what they show may take a moment to be so."""
QUERY = re.compile(r"^\| [^|]+ \| `(.+)` \|$", re.MULTILINE)
pytestmark = [pytest.mark.timeout(180), needs("prometheus", "promtool", "curl")]


class Desk:
    """A directory that pods may read, and a shell in it."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "hall"
        self.home.mkdir()
        self._environment = {**os.environ, "PATH": f"{TULLE.parent}:{os.environ['PATH']}", "NO_PROXY": "*"}
        for kind in ("RUNTIME", "STATE"):
            self._environment[f"TULLE_{kind}_DIR"] = str(directory / kind.lower())

    def run(self, command: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    def follow(self, command: str, shown: list[str]) -> None:
        """Types it, and holds the guide to what it shows; what only looks may look again."""
        said = [self.run(command)]

        def is_so() -> bool:
            code, words = said[-1]
            return code == 0 and (not shown or is_shown(words, shown))

        def looked_again() -> bool:
            said.append(self.run(command))
            return is_so()

        if LOOKING.match(command) and not is_so():
            with contextlib.suppress(TimeoutError):
                eventually(looked_again, 60, command, every=0.3)
        assert is_so(), f"{command}\n{said[-1]}\nshown:\n" + "\n".join(shown)


@pytest.fixture
def desk() -> Iterator[Desk]:
    directory = Path(tempfile.mkdtemp(prefix="tulle-guide-", dir="/var/tmp"))
    directory.chmod(0o755)
    try:
        yield Desk(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def test_every_command_does_what_the_guide_shows(desk: Desk) -> None:
    ports = {one: str(free_port()) for one in ("8089", "9090")}
    text = GUIDE.read_text()
    for own, other in ports.items():
        assert own in text
        text = text.replace(own, other)
    write_files(text, desk.home)
    queries = [
        query.replace("\\|", "|") for query in QUERY.findall(text.partition("| question |")[2].partition("\n\n")[0])
    ]
    assert len(queries) >= 8
    commands = typed(text)
    assert len(commands) >= 15

    pids: set[int] = set()
    try:
        for command, shown in commands:
            desk.follow(command, shown)
            if (file := desk.home / "prometheus.pid").exists():
                pids.add(int(file.read_text()))
            if command.startswith("kill "):
                eventually(lambda: not any(map(is_running, pids)), 60, "it has ended, and left its data to the next")
            if command.startswith("promtool query"):
                for query in queries:
                    code, words = desk.run(f"promtool query instant http://127.0.0.1:{ports['9090']} '{query}'")
                    assert code == 0, (query, words)
    finally:
        desk.run("tulle down --mesh hall")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
