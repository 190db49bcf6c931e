"""One SQLite file: opened, checked, brought to its schema; set aside when it is broken, done without where the disk will not have it."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote


class StoreError(Exception):
    """Memory did not take it, or has it no longer; the text says what and why. What runs is not concerned."""


class NewerState(Exception):
    """A newer Tulle has written this file: it is left as it is, since an older one cannot know what it means."""

    def __init__(self, path: Path, version: int, known: int) -> None:
        super().__init__(
            f"{path} was written by a newer Tulle (version {version} of its state; this one knows {known})"
        )
        self.hint = f"run that Tulle, or a newer one; or move {path} away: what it remembers is lost then"


Migration = Callable[[sqlite3.Connection], object]
"""Leads from one version of the state to the next, statement by statement: a transaction is around it."""


def open_database(
    path: Path, migrations: Sequence[Migration], notes: list[str], *, loss: str, journal: str = "WAL"
) -> sqlite3.Connection:
    """Brought to the version of this Tulle. Raises NewerState, and nothing else: a broken file is set aside and what cannot be
    used is replaced by memory, both noted.

    `migrations[n]` leads from version n to n + 1; `PRAGMA user_version` says where a file stands.
    `journal` is a mode of SQLite. `loss` ends the note's sentence: what a file set aside means.
    """
    try:
        return _connect(path, migrations, journal)
    except sqlite3.DatabaseError as bad:
        if isinstance(bad, sqlite3.OperationalError) and not _is_damage(bad):
            return _without_disk(path, migrations, notes, bad)
        damage = str(bad)
    except OSError as fault:
        return _without_disk(path, migrations, notes, fault)
    aside = path.with_name(f"{path.name}.broken-{time.time_ns()}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    notes.append(f"{path} is unreadable ({damage}); kept as {aside.name}, {loss}")
    try:
        return _connect(path, migrations, journal)
    except (sqlite3.DatabaseError, OSError) as fault:
        return _without_disk(path, migrations, notes, fault)


def _without_disk(
    path: Path, migrations: Sequence[Migration], notes: list[str], fault: Exception
) -> sqlite3.Connection:
    """A node whose disk is full or read-only still serves; it only remembers nothing."""
    notes.append(f"{path} cannot be used ({fault}); it is kept in memory only")
    return _connect(None, migrations, journal="")


def _connect(path: Path | None, migrations: Sequence[Migration], journal: str) -> sqlite3.Connection:
    db = sqlite3.connect(path or ":memory:", timeout=5.0)
    try:
        if path is not None:
            path.chmod(0o600)
            _refuse_newer(db, path, len(migrations))
            db.execute(f"PRAGMA journal_mode = {journal}")
            with closing(db.execute("PRAGMA quick_check(1)")) as check:
                (verdict,) = check.fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
        db.execute("PRAGMA cache_size = -256")
        _migrate(db, migrations)
    except BaseException:
        db.close()
        raise
    return db


def refuse_newer(path: Path, known: int) -> None:
    """Raises NewerState for a file beyond version `known`. Opens nothing for writing; what cannot be read is no newer."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as db:
            _refuse_newer(db, path, known)
    except sqlite3.Error:
        return


def _refuse_newer(db: sqlite3.Connection, path: Path, known: int) -> None:
    if (version := _version(db)) > known:
        raise NewerState(path, version, known)


def _migrate(db: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Whole versions only: what ends half-way, by a full disk or a power cut, is as if it had not begun."""
    for number in range(_version(db), len(migrations)):
        db.execute("BEGIN IMMEDIATE")
        with db:
            migrations[number](db)
            db.execute(f"PRAGMA user_version = {number + 1}")


def _version(db: sqlite3.Connection) -> int:
    with closing(db.execute("PRAGMA user_version")) as rows:
        (version,) = rows.fetchone()
    return int(version)


def _is_damage(fault: sqlite3.OperationalError) -> bool:
    code = getattr(fault, "sqlite_errorcode", None)
    return code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
