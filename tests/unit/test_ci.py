"""In CI nothing skips: neither a test nor a module that excuses itself."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hatch_build
from tests.support.programs import PACKAGES

EXCUSES = {
    "within": "import pytest\n\ndef test_it() -> None:\n    pytest.skip('no moon')\n",
    "module": "import pytest\n\npytest.skip('no moon', allow_module_level=True)\n",
    "marked": "import pytest\n\n@pytest.mark.skipif(True, reason='no moon')\ndef test_it() -> None: ...\n",
    "expected": "import pytest\n\n@pytest.mark.xfail(reason='no moon')\ndef test_it() -> None:\n    assert 0\n",
}


@pytest.fixture
def excuses(tmp_path: Path) -> Path:
    for name, text in EXCUSES.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    return tmp_path


def test_a_skip_fails_in_ci_and_an_expected_failure_does_not(excuses: Path) -> None:
    ran = run(excuses, CI="true")

    assert re.search(r"== 1 failed, 1 xfailed, 2 errors in", ran.stdout), ran.stdout
    assert ran.stdout.count("skipped in CI, where nothing may skip") >= 3


def test_a_skip_elsewhere_says_what_lacks(excuses: Path) -> None:
    ran = run(excuses)

    assert (ran.returncode, ran.stdout.count("no moon")) == (0, 4), ran.stdout


def test_ci_installs_the_programs_that_tests_need() -> None:
    installed = (hatch_build.ROOT / ".ci/run").read_text().partition("packages=(")[2].partition("\n)")[0]

    named = re.sub(r"#.*", "", installed).split()

    assert {package for packages in PACKAGES.values() for package in packages.split()} <= set(named)


def run(directory: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    plugins = ("-p", "tests.conftest", "-p", "no:cacheprovider")
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            "pyproject.toml",
            *plugins,
            "--continue-on-collection-errors",
            directory,
        ],
        cwd=hatch_build.ROOT,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
