"""Without a C compiler make goes on interpreted and says why, each time; in CI it fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hatch_build

COMPILED = Path("build/compiled.path")
WORDS = "no C compiler `/nonexistent/cc` (Debian: apt-get install gcc)"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A tree that is set up, with hardly a source in it."""
    for name in ("Makefile", "hatch_build.py", "pyproject.toml", "uv.lock", "tools/setup.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(hatch_build.ROOT / name, tmp_path / name)
    (tmp_path / "src/tulle").mkdir(parents=True)
    (tmp_path / "src/tulle/__init__.py").touch()
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/bin").symlink_to(Path(sys.prefix, "bin"))
    (tmp_path / ".venv/.stamp").write_text(f"{tmp_path}\n")
    return tmp_path


def make(checkout: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", str(COMPILED)],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "CC": "/nonexistent/cc", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_compiler_everything_runs_interpreted_and_says_so_each_time(checkout: Path) -> None:
    for _ in range(2):
        made = make(checkout)

        assert (made.returncode, (checkout / COMPILED).read_text()) == (0, "")
        assert made.stderr == f"nothing is compiled, everything runs interpreted: {WORDS}\n"


def test_in_ci_there_is_a_compiler(checkout: Path) -> None:
    made = make(checkout, CI="true")

    assert made.returncode != 0
    assert f"error: nothing can be compiled: {WORDS}" in made.stderr
    assert not (checkout / COMPILED).exists()


def test_what_is_compiled_is_not_compiled_again(checkout: Path) -> None:
    (checkout / "build").mkdir()
    (checkout / COMPILED).write_text(f"{checkout}/build/compiled\n")

    made = make(checkout)

    assert (made.returncode, made.stderr) == (0, "")
    assert "is up to date" in made.stdout
