"""The spool keeps its order and its bound through kill -9 and a full disk."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tulle.store.database import StoreError
from tulle.store.spool import Spool

MAX = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB."""
    if os.geteuid():
        pytest.skip("needs root: mounts a file system")
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mount], check=True)
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def drained(spool: Spool) -> list[int]:
    """`at_ms` of all, in the order of sending."""
    found = []
    while (one := spool.oldest()) is not None:
        found.append(one.at_ms)
        spool.forget(one.number)
    return found


def test_what_was_kept_leaves_oldest_first_after_reopening(path: Path) -> None:
    spool = Spool(path, MAX)
    for at in (1, 2, 3):
        assert spool.add(at, 10 * at, b"%d" % at) == (at, 0)
    spool.close()

    again = Spool(path, MAX)

    assert again.waiting() == (60, 3)
    assert drained(again) == [1, 2, 3]
    assert again.waiting() == (0, 0)


def test_numbers_are_never_used_twice(path: Path) -> None:
    spool = Spool(path, MAX)
    spool.add(1, 1, b"x")
    first = spool.oldest()
    assert first is not None
    spool.forget(first.number)
    spool.close()
    again = Spool(path, MAX)
    again.add(2, 1, b"x")

    second = again.oldest()

    assert second is not None
    assert second.number > first.number


def test_a_full_spool_costs_the_oldest_and_says_how_many(path: Path) -> None:
    spool = Spool(path, 65_536)

    lost = sum(spool.add(at, 7, os.urandom(5000))[1] for at in range(100))

    kept = drained(spool)
    assert kept == list(range(100 - len(kept), 100))
    assert 5 <= len(kept) <= 13
    assert lost == 7 * (100 - len(kept))


def test_its_file_stays_within_its_bound_and_becomes_small_again(path: Path) -> None:
    spool = Spool(path, MAX)
    for at in range(600):
        spool.add(at, 1, os.urandom(5000))
    assert path.stat().st_size <= MAX

    drained(spool)

    assert path.stat().st_size <= 65_536


def test_what_is_too_old_is_given_up_and_counted(path: Path) -> None:
    spool = Spool(path, MAX)
    for at in (1000, 2000, 3000):
        spool.add(at, 5, b"x")

    assert spool.drop_before(2500) == 10
    assert spool.drop_before(2500) == 0
    assert drained(spool) == [3000]


def test_a_killed_writer_loses_nothing_it_had_kept(path: Path) -> None:
    script = (
        "import sys, pathlib; from tulle.store.spool import Spool\n"
        "spool = Spool(pathlib.Path(sys.argv[1]), 1 << 20)\n"
        "for at in range(1, 10**6):\n"
        "    spool.add(at, 1, b'x' * 50)\n"
        "    print(at, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        told = 0
        while told < 200:
            told = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        told = int(([str(told), *writer.stdout.read().split()])[-1])

    kept = drained(Spool(path, MAX))

    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) in (told, told + 1)


def test_a_full_disk_costs_the_oldest_and_is_no_error(tiny_disk: Path) -> None:
    spool = Spool(tiny_disk / "spool.db", 1 << 30)

    lost = sum(spool.add(at, 3, os.urandom(4000))[1] for at in range(200))

    kept = drained(spool)
    assert kept == list(range(200 - len(kept), 200))
    assert len(kept) >= 5
    assert lost == 3 * (200 - len(kept))


def test_a_disk_that_another_filled_is_an_error_and_recovers(tiny_disk: Path) -> None:
    spool = Spool(tiny_disk / "spool.db", 1 << 30)
    other = tiny_disk / "other"
    with pytest.raises(OSError, match="No space left"), other.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

    with pytest.raises(StoreError, match="full"):
        spool.add(1, 1, os.urandom(150_000))

    other.unlink()
    spool.add(2, 1, os.urandom(150_000))
    assert drained(spool) == [2]


def test_what_cannot_be_forgotten_on_disk_is_not_sent_again(path: Path) -> None:
    spool = Spool(path, MAX)
    for at in (1, 2):
        spool.add(at, 1, b"x")
    first = spool.oldest()
    assert first is not None
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    spool._db.execute("PRAGMA busy_timeout = 1")

    spool.forget(first.number)

    second = spool.oldest()
    assert second is not None
    assert second.at_ms == 2
    assert spool.waiting() == (1, 1)
    other.close()


def test_what_cannot_be_written_at_all_is_kept_in_little_memory(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "no such directory" / "spool.db", 1 << 30)

    lost = sum(spool.add(at, 1, os.urandom(5000))[1] for at in range(100))

    kept = drained(spool)
    assert lost == 100 - len(kept)
    assert 10 < len(kept) < 60
    assert "memory only" in spool.notes[0]


def test_a_broken_file_is_set_aside_and_said(path: Path) -> None:
    path.write_bytes(b"no database " * 1000)

    spool = Spool(path, MAX)

    assert spool.add(1, 1, b"x") == (1, 0)
    (note,) = spool.notes
    assert "unreadable" in note
    assert "not sent" in note
