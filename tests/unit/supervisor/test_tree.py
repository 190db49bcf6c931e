from pathlib import Path

from tulle.supervisor.tree import closed_ancestor, is_below, topmost, trail


def test_the_trail_of_a_path_names_every_link_on_the_way(tmp_path: Path) -> None:
    real = tmp_path.resolve() / "real"
    (real / "bin").mkdir(parents=True)
    (real / "bin" / "python3.11").touch()
    (real / "bin" / "python").symlink_to("python3.11")
    (tmp_path / "short").symlink_to("real")

    links, end = trail(str(tmp_path.resolve() / "short" / "bin" / "python"))

    assert links == {str(tmp_path.resolve() / "short"): "real", str(real / "bin" / "python"): "python3.11"}
    assert end == str(real / "bin" / "python3.11")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    links, _ = trail(str(tmp_path.resolve() / "a"))

    assert len(links) == 2


def test_the_topmost_closed_directory_is_found(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "open" / "closed"
    inner.mkdir(parents=True)
    for one in (tmp_path, *tmp_path.parents):
        if one.stat().st_uid == tmp_path.stat().st_uid and one != Path("/") and "pytest" in one.name:
            one.chmod(0o755)
    tmp_path.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)
    inner.chmod(0o700)

    assert closed_ancestor(str(inner / "x"), 61001, [61001]) == str(tmp_path / "closed")
    assert closed_ancestor(str(inner / "x"), tmp_path.stat().st_uid, []) == ""


def test_paths_below_others_are_dropped() -> None:
    assert topmost(["/a/b", "/a", "/ab", "/a/b/c"]) == ["/a", "/ab"]
    assert is_below("/a/b", "/a")
    assert not is_below("/ab", "/a")
    assert not is_below("/a", "/a")
