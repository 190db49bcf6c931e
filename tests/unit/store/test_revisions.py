"""Revisions are remembered in order, and a bad disk never stops the node."""

import os
import resource
import sqlite3
import sys
from pathlib import Path

import pytest

from tulle.store.database import StoreError
from tulle.store.revisions import Entry, Revision, Revisions


def revision(number: int, *, text: str = "mesh: hello\n", accepted: bool = False) -> Revision:
    entry = Entry(number, 1000.0 + number, "manifest", "test", f"digest {number}", accepted=accepted)
    return Revision(entry, watched="w", files={"mesh.yaml": text}, snapshot=b'{"generation":%d}' % number, plan=b"{}\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tulle.db"


def test_what_was_added_is_there_after_reopening(path: Path) -> None:
    store = Revisions(path)
    store.add(revision(1, text="mesh: übung\n"))
    store.close()

    assert Revisions(path).get(1) == revision(1, text="mesh: übung\n")


def test_file_is_for_its_owner_only(path: Path) -> None:
    Revisions(path)

    assert path.stat().st_mode & 0o777 == 0o600


def test_history_is_newest_first_and_bounded(path: Path) -> None:
    store = Revisions(path, keep=3)
    for number in range(1, 8):
        store.add(revision(number))

    assert [entry.number for entry in store.history()] == [7, 6, 5]
    assert store.highest() == 7


def test_last_good_outlives_the_bound(path: Path) -> None:
    store = Revisions(path, keep=2)
    store.add(revision(1))
    store.accept(1)
    for number in range(2, 6):
        store.add(revision(number))
        store.refuse(number, "no such thing")

    good = store.last_good()

    assert good is not None
    assert good.number == 1
    assert [entry.number for entry in store.history()] == [5, 4, 1]


def test_last_good_is_the_newest_that_was_not_refused(path: Path) -> None:
    store = Revisions(path)
    for number in range(1, 4):
        store.add(revision(number))
    store.accept(1)
    store.refuse(3, "no such thing")

    good = store.last_good()

    assert good is not None
    assert good.number == 2


def test_empty_store_has_nothing(path: Path) -> None:
    store = Revisions(path)

    assert store.last_good() is None
    assert store.get(1) is None
    assert store.highest() == 0
    assert store.history() == []


@pytest.mark.parametrize(
    "garbage", [b"not a database at all, but long enough to look like a header page" * 100, b"SQLite"]
)
def test_garbage_is_moved_aside_and_said(path: Path, garbage: bytes) -> None:
    path.write_bytes(garbage)

    store = Revisions(path)
    store.add(revision(1))

    assert "kept as tulle.db.broken-" in store.notes[0]
    (aside,) = path.parent.glob("tulle.db.broken-*")
    assert aside.read_bytes() == garbage


def test_damaged_page_is_moved_aside(path: Path) -> None:
    store = Revisions(path)
    for number in range(1, 40):
        store.add(revision(number, text=os.urandom(4096).hex()))
    store.close()
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    whole = bytearray(path.read_bytes())
    whole[4096 * 2 : 4096 * 5] = os.urandom(4096 * 3)
    path.write_bytes(whole)

    store = Revisions(path)

    assert "is unreadable" in store.notes[0]
    assert store.highest() == 0


def test_unusable_directory_leaves_memory(tmp_path: Path) -> None:
    store = Revisions(tmp_path / "missing" / "tulle.db")
    store.add(revision(1))

    assert "in memory only" in store.notes[0]
    assert store.highest() == 1


def test_full_disk_is_a_store_error_and_what_was_written_stays(path: Path) -> None:
    """RLIMIT_FSIZE stands for the full disk: the write fails in the same place."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = _write_until_full(path)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0

    store = Revisions(path)
    assert store.notes == []
    good = store.get(1)
    assert good is not None
    assert good.files == {"mesh.yaml": "mesh: hello\n"}


def _write_until_full(path: Path) -> int:
    store = Revisions(path)
    store.add(revision(1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        for number in range(2, 100):
            store.add(revision(number, text=os.urandom(16384).hex()))
    except StoreError as fault:
        print(fault, file=sys.stderr)  # noqa: T201
        return 0 if store.highest() >= 1 else 2
    return 3
