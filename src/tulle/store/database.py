"""One SQLite file: opened, checked, brought to its schema; set aside when it is broken, done without where the disk will not have it."""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path


class StoreError(Exception):
    """Memory did not take it, or has it no longer; the text says what and why. What runs is not concerned."""


def open_database(
    path: Path, migrations: Sequence[str], notes: list[str], *, loss: str, journal: str = "WAL"
) -> sqlite3.Connection:
    """Never fails: a broken file is set aside and what cannot be used is replaced by memory, both noted.

    Script n of `migrations` leads from schema version n to n + 1; `PRAGMA user_version` says where a file stands.
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


def _without_disk(path: Path, migrations: Sequence[str], notes: list[str], fault: Exception) -> sqlite3.Connection:
    """A node whose disk is full or read-only still serves; it only remembers nothing."""
    notes.append(f"{path} cannot be used ({fault}); it is kept in memory only")
    return _connect(None, migrations, journal="")


def _connect(path: Path | None, migrations: Sequence[str], journal: str) -> sqlite3.Connection:
    db = sqlite3.connect(path or ":memory:", timeout=5.0)
    try:
        if path is not None:
            path.chmod(0o600)
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


def _migrate(db: sqlite3.Connection, migrations: Sequence[str]) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise sqlite3.DatabaseError(f"written by a newer Tulle (schema {version}, known {len(migrations)})")
    for number in range(version, len(migrations)):
        db.executescript(f"BEGIN; {migrations[number]} PRAGMA user_version = {number + 1}; COMMIT;")


def _is_damage(fault: sqlite3.OperationalError) -> bool:
    code = getattr(fault, "sqlite_errorcode", None)
    return code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
