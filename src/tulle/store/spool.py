"""What is to leave and has not been taken yet, oldest first, within a bound of octets. Survives kill -9.

A journal, not a log: what is written takes the place of what was given up. Room for the journal is kept in a file of its own.
A full disk, or a full spool, costs the oldest; what was sent twice, because it could not be forgotten, does no harm.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tulle.store.database import StoreError, open_database


def _begin(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE kept (
            id       INTEGER PRIMARY KEY AUTOINCREMENT,
            at_ms    INTEGER NOT NULL,
            samples  INTEGER NOT NULL,
            octets   BLOB NOT NULL
        ) STRICT
        """
    )


_MIGRATIONS = (_begin,)
_BALLAST_BYTES = 131_072
"""Given up on a full disk, so that something can be given up within the file: even that takes room, for a moment."""
_MEMORY_BYTES = 262_144
"""Where there is no disk."""
_SPARE_PAGES = 64
"""A file that has become empty is made small when it has more."""
_ROOM_FACTOR = 4
"""On a full disk so many times the octets to write are given up, so that the next ones find room too."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One body of a request."""

    number: int
    """Ascending, never used twice."""
    at_ms: int
    """Unix milliseconds of its oldest sample."""
    samples: int
    octets: bytes = field(repr=False)


class Spool:
    """The bodies on disk. Reads and writes raise StoreError; opening does not fail for a broken file."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.notes: list[str] = []
        """What a person should know of how it was opened."""
        self.max_bytes = max_bytes
        self._path = path
        self._db = open_database(path, _MIGRATIONS, self.notes, loss="what it held is not sent", journal="PERSIST")
        self._ballast = path.with_name(f"{path.name}.room")
        self._gone = 0
        """Numbers up to this one are done with, even where that could not be written."""
        with self._guarded() as db:
            db.execute("PRAGMA synchronous = NORMAL")
            _, _, file = db.execute("PRAGMA database_list").fetchone()
            if not file:
                self.max_bytes = min(max_bytes, _MEMORY_BYTES)
        self._weigh_down()

    def add(self, at_ms: int, samples: int, octets: bytes) -> tuple[int, int]:
        """Keeps one body; returns its number, and how many older samples that cost. Raises StoreError when the disk does not take it."""
        with self._guarded() as db:
            lost = self._make_room(db, len(octets))
            try:
                with db:
                    number = _insert(db, at_ms, samples, octets)
            except sqlite3.OperationalError as fault:
                if fault.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
                self._ballast.unlink(missing_ok=True)
                with db:
                    lost += self._drop(db, _ROOM_FACTOR * len(octets))
                    number = _insert(db, at_ms, samples, octets)
            self._weigh_down()
            return number, lost

    def oldest(self) -> Kept | None:
        """The next to send."""
        with self._guarded() as db:
            row = db.execute(
                "SELECT id, at_ms, samples, octets FROM kept WHERE id > ? ORDER BY id LIMIT 1", (self._gone,)
            ).fetchone()
        return Kept(*row) if row else None

    def forget(self, number: int) -> None:
        """This one and those before it are done with. Where the disk will not have that, the next call says it again."""
        self._gone = max(self._gone, number)
        with suppress(sqlite3.Error):
            with self._db as db:
                db.execute("DELETE FROM kept WHERE id <= ?", (self._gone,))
            if not self._any(db):
                self._shrink(db)

    def drop_before(self, at_ms: int) -> int:
        """Gives up what is older; returns how many samples that was."""
        with self._guarded() as db:
            (lost,) = db.execute(
                "SELECT coalesce(sum(samples), 0) FROM kept WHERE at_ms < ? AND id > ?", (at_ms, self._gone)
            ).fetchone()
            if lost:
                with db:
                    db.execute("DELETE FROM kept WHERE at_ms < ?", (at_ms,))
            return int(lost)

    def waiting(self) -> tuple[int, int]:
        """How many samples wait, and in how many octets."""
        with self._guarded() as db:
            samples, octets = db.execute(
                "SELECT coalesce(sum(samples), 0), coalesce(sum(length(octets)), 0) FROM kept WHERE id > ?",
                (self._gone,),
            ).fetchone()
        return int(samples), int(octets)

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()

    def _weigh_down(self) -> None:
        """Sees to it that the ballast is there; on a disk too full for it, the next time."""
        if not self._ballast.exists():
            try:
                self._ballast.write_bytes(bytes(_BALLAST_BYTES))
            except OSError:
                with suppress(OSError):
                    self._ballast.unlink()

    def _make_room(self, db: sqlite3.Connection, octets: int) -> int:
        """Within the bound: gives up the oldest until these fit."""
        size = _pragma(db, "page_size")
        used = (_pragma(db, "page_count") - _pragma(db, "freelist_count")) * size
        excess = used + octets + 2 * size - self.max_bytes
        if excess <= 0:
            return 0
        with db:
            return self._drop(db, excess)

    def _drop(self, db: sqlite3.Connection, octets: int) -> int:
        """Gives up the oldest that hold so many octets between them; returns their samples."""
        freed = lost = last = 0
        for number, samples, length in db.execute("SELECT id, samples, length(octets) FROM kept ORDER BY id"):
            last, freed = number, freed + length
            lost += samples if number > self._gone else 0
            if freed >= octets:
                break
        db.execute("DELETE FROM kept WHERE id <= ?", (last,))
        return lost

    @staticmethod
    def _any(db: sqlite3.Connection) -> bool:
        return db.execute("SELECT 1 FROM kept LIMIT 1").fetchone() is not None

    @staticmethod
    def _shrink(db: sqlite3.Connection) -> None:
        if _pragma(db, "page_count") > _SPARE_PAGES:
            db.execute("VACUUM")

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._db
        except sqlite3.Error as fault:
            raise StoreError(f"{self._path}: {fault}") from fault


def _insert(db: sqlite3.Connection, at_ms: int, samples: int, octets: bytes) -> int:
    done = db.execute("INSERT INTO kept (at_ms, samples, octets) VALUES (?, ?, ?)", (at_ms, samples, octets))
    return done.lastrowid or 0


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (number,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(number)
