"""State carries a version: an older one is brought up to date, a newer one is refused and left alone."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tulle.agent.candidate import Ground
from tulle.agent.node import Node
from tulle.manifest import load
from tulle.store import revisions, spool
from tulle.store.database import NewerState
from tulle.store.revisions import Revisions, refuse_newer
from tulle.store.spool import Kept, Spool
from tulle.wire.snapshot import SCHEMA_VERSION, decode_snapshot

FIXTURES = Path(__file__).parents[2] / "fixtures/state"
"""What each older version of Tulle left: `NAME-VERSION.sql`, of the store of that name at that version."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tulle.db"


def left_by(fixture: str, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.executescript((FIXTURES / f"{fixture}.sql").read_text())
    return path


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        (number,) = db.execute("PRAGMA user_version").fetchone()
    return int(number)


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        columns = (
            "SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
        )
        return {name for (name,) in db.execute(columns)}


@pytest.mark.parametrize(
    ("name", "known"), [("revisions", len(revisions._MIGRATIONS)), ("spool", len(spool._MIGRATIONS))]
)
def test_each_older_version_has_a_fixture(name: str, known: int) -> None:
    assert {path.stem for path in FIXTURES.glob(f"{name}-*.sql")} >= {f"{name}-{one}" for one in range(1, known)}


@pytest.mark.parametrize("fixture", sorted(path.stem for path in FIXTURES.glob("revisions-*.sql")))
def test_revisions_of_an_older_version_are_all_there(fixture: str, path: Path, tmp_path: Path) -> None:
    store = Revisions(left_by(fixture, path))

    assert store.notes == []
    assert [(one.number, one.accepted, bool(one.fault)) for one in store.history()] == [
        (3, False, False), (2, False, True), (1, True, False),
    ]  # fmt: skip
    good = store.last_good()
    assert good is not None
    assert (good.number, good.entry.author, good.schema) == (3, "uid 1000 (eve)", 1)
    assert "greeter" in good.files["/etc/tulle/hello/mesh.yaml"]
    assert decode_snapshot(good.snapshot).mesh == "hello"
    store.close()
    assert version(path) == len(revisions._MIGRATIONS)
    Revisions(tmp_path / "new.db").close()
    assert tables(path) == tables(tmp_path / "new.db")


@pytest.mark.parametrize("fixture", sorted(path.stem for path in FIXTURES.glob("spool-*.sql")))
def test_what_an_older_version_spooled_is_still_sent(fixture: str, path: Path) -> None:
    store = Spool(left_by(fixture, path), 1 << 20)

    assert store.oldest() == Kept(1, 1_700_000_000_000, 3, b"first")


@pytest.mark.parametrize("opened", [Revisions, lambda path: Spool(path, 1 << 20), refuse_newer])
def test_a_newer_version_is_refused_with_words_and_left_as_it_was(opened: Callable[[Path], object], path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE tomorrow (x); INSERT INTO tomorrow VALUES (1); PRAGMA user_version = 99;")
    before = path.read_bytes()

    with pytest.raises(NewerState, match=r"written by a newer Tulle \(version 99") as refused:
        opened(path)

    assert "move" in refused.value.hint
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["tulle.db"]


@pytest.mark.parametrize("content", [None, b"", b"no database"])
def test_what_holds_no_version_is_no_newer(content: bytes | None, path: Path) -> None:
    if content is not None:
        path.write_bytes(content)

    refuse_newer(path)

    assert path.exists() == (content is not None)


def test_a_migration_that_fails_half_way_has_not_begun(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE revision ADD COLUMN half INTEGER")
        if db.execute("PRAGMA database_list").fetchone()[2]:
            raise OSError("the disk is gone")

    monkeypatch.setattr(revisions, "_MIGRATIONS", (*revisions._MIGRATIONS, half))

    store = Revisions(left_by("revisions-1", path))

    assert "kept in memory only" in store.notes[0]
    assert version(path) == len(revisions._MIGRATIONS) - 1
    assert "revision.half" not in tables(path)
    assert "revision.schema" in tables(path)


def test_a_snapshot_of_an_older_schema_is_compiled_anew_beside_a_broken_manifest(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(left_by("revisions-1", path))) as db:
        db.executescript("ALTER TABLE revision ADD COLUMN schema INTEGER NOT NULL DEFAULT 0; PRAGMA user_version = 2;")
    (tmp_path / "mesh.yaml").write_text("mesh: hello\nservices: nonsense\n")
    ground = Ground(mesh="hello", manifests=("/etc/tulle/hello",), base_dir="/srv/hello", environment={})
    node = Node(ground, Revisions(path), now=lambda: 1.0)

    node.boot(lambda: load([tmp_path / "mesh.yaml"]), 0, "other")

    assert node.problems
    assert node.wanted is not None
    assert (node.wanted.number, node.wanted.schema) == (4, SCHEMA_VERSION)
    assert node.wanted.entry.why == "revision 3 compiled anew"
    assert [one.name for one in decode_snapshot(node.wanted.snapshot).services] == ["default/greeter"]
