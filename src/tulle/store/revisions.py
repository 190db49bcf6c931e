"""What the node remembers: each revision of its mesh, with the texts it came from and what they compiled to."""

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tulle.store import database
from tulle.store.database import StoreError, open_database
from tulle.wire.snapshot import SCHEMA_VERSION

KEPT = 100
"""Revisions kept; the last good one is kept besides, however old."""


def _begin(db: sqlite3.Connection) -> None:
    db.execute(
        """
        CREATE TABLE revision (
            number    INTEGER PRIMARY KEY,
            time      REAL NOT NULL,
            author    TEXT NOT NULL,
            why       TEXT NOT NULL,
            digest    TEXT NOT NULL,
            watched   TEXT NOT NULL,
            files     BLOB NOT NULL,
            snapshot  BLOB NOT NULL,
            plan      BLOB NOT NULL,
            accepted  INTEGER NOT NULL DEFAULT 0,
            fault     TEXT NOT NULL DEFAULT ''
        ) STRICT
        """
    )
    db.execute("CREATE INDEX revision_accepted ON revision (accepted, number)")


def _note_schema(db: sqlite3.Connection) -> None:
    """A document that leaves out what is usual does not say which schema it follows; those so far followed the first."""
    db.execute("ALTER TABLE revision ADD COLUMN schema INTEGER NOT NULL DEFAULT 1")


def _note_sinks(db: sqlite3.Connection) -> None:
    """Nothing left the node before."""
    db.execute("ALTER TABLE revision ADD COLUMN sinks BLOB NOT NULL DEFAULT x''")


_MIGRATIONS = (_begin, _note_schema, _note_sinks)

_ENTRY = "number, time, author, why, digest, accepted, fault"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the history."""

    number: int
    """Also the generation of its snapshot; never used twice."""
    time: float
    """Unix seconds."""
    author: str
    """`uid 1000 (eve)` for an apply, `manifest` for a watched file."""
    why: str
    """What led to it: `shop.yaml changed`, `rollback to 3`."""
    digest: str
    """SHA-256 of snapshot and plan at generation 0: equal means nothing changed."""
    accepted: bool = False
    """The proxy has taken it at least once."""
    fault: str = ""
    """Why the proxy refused it; empty otherwise."""


@dataclass(frozen=True, slots=True)
class Revision:
    """An entry with all that is needed to serve it again, without a compiler."""

    entry: Entry
    watched: str
    """Digest of the watched manifests when it was made: a different one at boot means they have changed since."""
    files: Mapping[str, str] = field(repr=False)
    """Text by file name."""
    snapshot: bytes = field(repr=False)
    plan: bytes = field(repr=False)
    schema: int = SCHEMA_VERSION
    """Which the snapshot follows."""
    sinks: bytes = field(default=b"", repr=False)
    """Where metrics are sent; empty: nowhere. See `tulle.wire.sinks`."""

    @property
    def number(self) -> int:
        """Its number, which is its generation."""
        return self.entry.number


def refuse_newer(path: Path) -> None:
    """Raises NewerState for revisions that a newer Tulle has kept. Changes nothing."""
    database.refuse_newer(path, len(_MIGRATIONS))


class Revisions:
    """The revisions on disk. Reads and writes raise StoreError; opening raises NewerState, and does not fail for a broken file."""

    def __init__(self, path: Path, *, keep: int = KEPT) -> None:
        self.notes: list[str] = []
        """What a person should know of how it was opened."""
        self._path = path
        self._keep = keep
        self._db = open_database(path, _MIGRATIONS, self.notes, loss="the history starts anew")

    def add(self, revision: Revision) -> None:
        """Remembers a revision and forgets the oldest beyond `keep`."""
        entry = revision.entry
        with self._writing() as db:
            db.execute(
                "INSERT INTO revision VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(entry.number, entry.time, entry.author, entry.why, entry.digest, revision.watched),
                    zlib.compress(json.dumps(dict(revision.files)).encode()),
                    *(zlib.compress(revision.snapshot), zlib.compress(revision.plan)),
                    *(int(entry.accepted), entry.fault, revision.schema, revision.sinks),
                ),
            )
            db.execute(
                "DELETE FROM revision WHERE number <= (SELECT max(number) FROM revision) - ?"
                " AND number IS NOT (SELECT max(number) FROM revision WHERE accepted)",
                (self._keep,),
            )

    def accept(self, number: int) -> None:
        """Marks a revision as taken by the proxy; the newest such one is never forgotten."""
        with self._writing() as db:
            db.execute("UPDATE revision SET accepted = 1, fault = '' WHERE number = ? AND NOT accepted", (number,))

    def refuse(self, number: int, fault: str) -> None:
        """Marks a revision as refused by the proxy."""
        with self._writing() as db:
            db.execute("UPDATE revision SET accepted = 0, fault = ? WHERE number = ?", (fault, number))

    def reword(self, number: int, files: Mapping[str, str], watched: str) -> None:
        """Notes that other texts mean the same revision."""
        text = zlib.compress(json.dumps(dict(files)).encode())
        with self._writing() as db:
            db.execute("UPDATE revision SET files = ?, watched = ? WHERE number = ?", (text, watched, number))

    def highest(self) -> int:
        """The highest number in use; 0 at first."""
        with self._reading() as db:
            (number,) = db.execute("SELECT coalesce(max(number), 0) FROM revision").fetchone()
            return int(number)

    def last_good(self) -> Revision | None:
        """The newest revision that the proxy has not refused: what a boot with unusable manifests serves."""
        with self._reading() as db:
            row = db.execute("SELECT max(number) FROM revision WHERE fault = '' HAVING max(number)").fetchone()
        return self.get(row[0]) if row else None

    def get(self, number: int) -> Revision | None:
        """One revision; None when it never was or is forgotten."""
        with self._reading() as db:
            row = db.execute(
                f"SELECT {_ENTRY}, watched, files, snapshot, plan, schema, sinks FROM revision WHERE number = ?",  # noqa: S608
                (number,),
            ).fetchone()
            if row is None:
                return None
            watched, files, snapshot, plan, schema, sinks = row[7:]
            return Revision(
                entry=_entry(row[:7]),
                watched=watched,
                files=json.loads(zlib.decompress(files)),
                snapshot=zlib.decompress(snapshot),
                plan=zlib.decompress(plan),
                schema=schema,
                sinks=sinks,
            )

    def history(self) -> list[Entry]:
        """All entries, newest first."""
        with self._reading() as db:
            return [_entry(row) for row in db.execute(f"SELECT {_ENTRY} FROM revision ORDER BY number DESC")]  # noqa: S608

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._db
        except (sqlite3.Error, zlib.error, ValueError) as fault:
            raise StoreError(f"{self._path}: {fault}") from fault

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._db:
                yield self._db
        except sqlite3.Error as fault:
            raise StoreError(f"{self._path}: {fault}") from fault


def _entry(row: tuple[int, float, str, str, str, int, str]) -> Entry:
    number, at, author, why, digest, accepted, fault = row
    return Entry(number, at, author, why, digest, bool(accepted), fault)
