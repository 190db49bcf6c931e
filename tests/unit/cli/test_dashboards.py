"""`tulle dashboards` writes what is shipped."""

from pathlib import Path

import pytest

from tulle.cli.main import run
from tulle.dashboards import ALERTS, DASHBOARD


def test_the_files_are_written_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "a" / "b"

    assert run(["dashboards", str(home)]) == 0
    assert run(["dashboards", str(home)]) == 0

    assert (home / "tulle.json").read_bytes() == DASHBOARD.read_bytes()
    assert (home / "tulle-alerts.yaml").read_bytes() == ALERTS.read_bytes()
    assert capsys.readouterr().out.split() == 2 * [str(home / "tulle.json"), str(home / "tulle-alerts.yaml")]


def test_a_directory_that_cannot_be_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")

    assert run(["dashboards", str(tmp_path / "file" / "below")]) == 1

    assert "error[unwritable]: cannot write" in capsys.readouterr().err
