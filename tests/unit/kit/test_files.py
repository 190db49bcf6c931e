"""Files that are there whole, or as they were."""

import os
from pathlib import Path

import pytest

from tulle.kit.files import write_whole


def test_a_file_is_replaced_with_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "unit"
    file.write_text("old")
    umask = os.umask(0o077)
    try:
        write_whole(file, "new", 0o644)
    finally:
        os.umask(umask)

    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o7777 == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f".unit.{os.getpid()}").write_text("half")

    write_whole(tmp_path / "unit", "new", 0o600)

    assert [one.name for one in tmp_path.iterdir()] == ["unit"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "unit"
    file.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "\ud800", 0o600)

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
