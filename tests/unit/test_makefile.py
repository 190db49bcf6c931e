"""What `make` does on a second call: nothing; after a change: what the change asks for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import hatch_build

PYTHON = """#!/bin/sh
cd "$(dirname "$0")/../.."
case "$*" in *--missing*) exit 0;; *"import"*) exit 0;; esac
echo "$*" >>calls
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout whose set-up and interpreter only note that they were called."""
    shutil.copy(hatch_build.ROOT / "Makefile", tmp_path)
    for file in ("pyproject.toml", "uv.lock", "hatch_build.py", "src/tulle/one.py", "python"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(PYTHON if file == "python" else "")
    (tmp_path / "tools").mkdir()
    setup = tmp_path / "tools" / "setup.sh"
    setup.write_text(
        "#!/bin/sh\necho set-up >>calls; mkdir -p .venv/bin; cp python .venv/bin; chmod +x .venv/bin/python\n"
    )
    setup.chmod(0o755)
    return tmp_path


def test_a_second_call_does_no_work(tree: Path) -> None:
    first = made(tree)

    assert first[0] == "set-up"
    assert [call for call in first if call.startswith("hatch_build.py build/compiled")]
    assert made(tree) == []


@pytest.mark.parametrize(
    ("changed", "sets_up"), [("src/tulle/one.py", False), ("uv.lock", True), ("tools/setup.sh", True)]
)
def test_a_change_asks_for_its_own_work(tree: Path, changed: str, sets_up: bool) -> None:
    made(tree)
    later = (tree / "build" / "compiled.path").stat().st_mtime_ns + 1_000_000_000
    touch(tree / changed, later)

    calls = made(tree)

    assert ("set-up" in calls) is sets_up
    assert [call for call in calls if call.startswith("hatch_build.py build/compiled")]


def made(tree: Path) -> list[str]:
    """What one `make compiled` called."""
    calls = tree / "calls"
    calls.write_text("")
    done = subprocess.run(["make", "-s", "compiled"], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return calls.read_text().splitlines()


def touch(path: Path, nanoseconds: int) -> None:
    os.utime(path, ns=(nanoseconds, nanoseconds))
