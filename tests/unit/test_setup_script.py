"""`tools/setup.sh` names what a box lacks in one line, with the remedy."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import hatch_build


@pytest.mark.parametrize(
    ("system", "release", "python", "words"),
    [
        ("Darwin", "23.0.0", "exit 0", "Tulle needs Linux, this is Darwin; use"),
        ("Linux", "5.11.0-49-generic", "exit 0", "5.12 or newer, this is 5.11.0-49-generic; upgrade"),
        ("Linux", "4.19.0", "exit 0", "5.12 or newer, this is 4.19.0; upgrade"),
        ("Linux", "6.1.0", 'case "$*" in *version_info*) exit 1;; *-V*) echo Python 3.9.2;; esac', "3.11 or newer"),
        ("Linux", "6.1.0", 'case "$*" in *ensurepip*) exit 1;; esac', "apt-get install python3-venv"),
    ],
)
def test_lack_is_named_in_one_line(tmp_path: Path, system: str, release: str, python: str, words: str) -> None:
    ended = _set_up(tmp_path, f'[ "$1" = -s ] && echo {system} || echo {release}', python)

    assert ended.returncode == 1
    assert words in ended.stderr
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = _set_up(tmp_path, '[ "$1" = -s ] && echo Linux || echo 6.1.0', "exit 0", PYTHON="python3.99")

    assert ended.returncode == 1
    assert ended.stderr.startswith("error: python3.99 is not installed; apt-get install python3 python3-venv")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(("place", "stays"), [("{}", True), ("{}/before-it-was-moved", False)])
def test_environment_of_another_tree_is_made_anew(tmp_path: Path, place: str, stays: bool) -> None:
    found = tmp_path / ".venv" / "found"
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / ".stamp").write_text(f"{place.format(tmp_path)}\n")
    _program(tmp_path / ".venv" / "bin" / "python", "exit 0")
    found.touch()

    _set_up(tmp_path, '[ "$1" = -s ] && echo Linux || echo 6.1.0', "exit 0")

    assert found.exists() is stays


def _set_up(tree: Path, uname: str, python: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    programs = tree / "bin"
    programs.mkdir()
    _program(programs / "uname", uname)
    _program(programs / "python3", python)
    (tree / "tools").mkdir()
    shutil.copy(hatch_build.ROOT / "tools" / "setup.sh", tree / "tools")
    shutil.copy(hatch_build.ROOT / "uv.lock", tree)
    return subprocess.run(
        ["/bin/sh", tree / "tools" / "setup.sh"],
        env={"PATH": f"{programs}:{os.defpath}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
