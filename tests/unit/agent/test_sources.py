"""The manifests on disk: their digest, what to watch, and what concerns them."""

from pathlib import Path

from tests.support.powerless import powerless
from tulle.agent.sources import Sources


def test_digest_follows_content_names_and_absence(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    sources = Sources([file])
    seen = [sources.digest()]
    for text in ("mesh: a", "mesh: b"):
        file.write_text(text)
        seen.append(sources.digest())

    assert len(set(seen)) == 3
    file.unlink()
    assert sources.digest() == seen[0]


def test_directory_counts_yaml_only(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("mesh: a")
    sources = Sources([tmp_path])
    before = sources.digest()
    (tmp_path / "notes.txt").write_text("nothing")

    assert sources.digest() == before
    (tmp_path / "b.yml").write_text("kind: Service")
    assert sources.digest() != before


def test_file_is_watched_by_its_directory_and_where_a_link_leads(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "mesh.yaml").write_text("mesh: a")
    link = tmp_path / "etc"
    link.mkdir()
    (link / "mesh.yaml").symlink_to(real / "mesh.yaml")
    sources = Sources([link / "mesh.yaml"])

    assert sources.directories() == {link, real}
    assert sources.concerned([real / "mesh.yaml"])
    assert sources.concerned([link / "mesh.yaml"])
    assert not sources.concerned([link / "other.log", real / "mesh.yaml~"])


def test_missing_directory_is_waited_for_above(tmp_path: Path) -> None:
    sources = Sources([tmp_path / "gone" / "mesh.yaml"])

    assert sources.directories() == {tmp_path}
    assert sources.concerned([tmp_path / "gone"])


def test_what_lies_behind_a_closed_directory_counts_as_unreadable(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "mesh.yaml").write_text("mesh: a")
    sources = Sources([closed, closed / "mesh.yaml"])
    before = sources.digest()
    closed.chmod(0)

    with powerless():
        assert sources.digest() != before
        assert all(one in (tmp_path, *tmp_path.parents, closed) for one in sources.directories())
        assert sources.concerned([closed])

    closed.chmod(0o700)
    assert sources.digest() == before
