"""Guides as scripts: files that they show, commands that they type, and what they say comes of them."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import eventually
from tests.support.running import TULLE

LOOKING = re.compile(r"(cat|curl|tulle (status|logs|top|tap|why|history|get))\b")
"""Commands that change nothing: what they show may take a moment to be so."""
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXITS = re.compile(r" # exits (\d)$")
_FILE = re.compile(r"`([\w./-]+)`[^\n`]*:\n\n```(?!console)\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_files(text: str, directory: Path) -> None:
    """Writes every block whose paragraph ends with the name of a file and a colon."""
    for name, body in _FILE.findall(text):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)


def typed(text: str) -> list[tuple[str, list[str]]]:
    """Each command of the console blocks, with what is shown of its output."""
    commands: list[tuple[str, list[str]]] = []
    for line in (line for language, body in FENCE.findall(text) if language == "console" for line in body.splitlines()):
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    return commands


def is_shown(output: str, shown: list[str]) -> bool:
    """Whether it is what the guide shows; `…` stands for anything in a line, and alone for any lines."""
    pattern = "".join(r"(?s:.*)" if one == "…" else re.escape(one).replace("…", "[^\n]*") + "\n" for one in shown)
    return re.fullmatch(pattern, output.strip() + "\n") is not None


@contextmanager
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
    """Types one command at the desk: its exit code, and all that it said."""
    given = {**os.environ, **environment, "PATH": f"{TULLE.parent}:{os.environ['PATH']}", "NO_PROXY": "*"}
    for kind in ("RUNTIME", "STATE"):
        given[f"TULLE_{kind}_DIR"] = str(desk.parent / kind.lower())
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=desk, env=given, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def follow(text: str, desk: Path, environment: Mapping[str, str], *, patience: float = 20.0) -> None:
    """Types every command of a guide, and holds the guide to what it shows."""
    write_files(text, desk)
    try:
        for command, shown in typed(text):
            said: list[tuple[int, str]] = []
            is_so = _typing(command, shown, desk, environment, said)
            if not is_so() and LOOKING.match(command):
                eventually(is_so, patience, f"{command}\n{said[-1][1]}\nshown:\n" + "\n".join(shown))
            else:
                shows = "\n".join(shown)
                assert said[-1][0] == _exit_code(command), f"{command}\n{said[-1][1]}"
                assert not shown or is_shown(said[-1][1], shown), f"{command}\n{said[-1][1]}\nshown:\n{shows}"
    finally:
        run("tulle down --mesh hall", desk, environment)


def _typing(
    command: str, shown: list[str], desk: Path, environment: Mapping[str, str], said: list[tuple[int, str]]
) -> Callable[[], bool]:
    def is_so() -> bool:
        said.append(run(command, desk, environment))
        return said[-1][0] == _exit_code(command) and (not shown or is_shown(said[-1][1], shown))

    return is_so


def _exit_code(command: str) -> int:
    found = _EXITS.search(command)
    return int(found[1]) if found else 0
