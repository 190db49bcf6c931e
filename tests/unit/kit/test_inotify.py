"""A change of a watched directory is seen, however the file was written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tulle.kit.inotify import Inotify


@pytest.fixture
def inotify(tmp_path: Path) -> Iterator[Inotify]:
    watcher = Inotify()
    watcher.watch(tmp_path)
    yield watcher
    watcher.close()


def test_silence_is_empty(inotify: Inotify) -> None:
    assert inotify.read() == set()


def test_written_file_is_named(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text("mesh: hello")

    assert inotify.read() == {tmp_path / "mesh.yaml"}
    assert inotify.read() == set()


def test_file_replaced_by_rename_is_named(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml~").write_text("mesh: hello")
    inotify.read()
    (tmp_path / "mesh.yaml~").rename(tmp_path / "mesh.yaml")

    assert tmp_path / "mesh.yaml" in inotify.read()


def test_removed_directory_is_named_itself(inotify: Inotify, tmp_path: Path) -> None:
    tmp_path.rmdir()

    assert tmp_path in inotify.read()


def test_what_is_no_directory_is_an_error(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(NotADirectoryError):
        inotify.watch(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        inotify.watch(tmp_path / "nowhere")
