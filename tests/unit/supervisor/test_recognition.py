import os
from pathlib import Path

from tulle.supervisor.recognition import NONE, Facts, find
from tulle.wire.plan import AttachSpec


def inode(root: Path, path: str) -> int:
    return (root / path).stat().st_ino


def test_a_user_is_found_by_name_and_by_number() -> None:
    found = find([AttachSpec("default/a", uid="root"), AttachSpec("default/b", uid="4711")], "")

    assert found == {"default/a": (Facts(0, None), ""), "default/b": (Facts(4711, None), "")}


def test_a_user_that_is_not_there_is_nobody() -> None:
    found = find([AttachSpec("default/a", uid="no-such-user-here")], "")

    assert found == {"default/a": (NONE, "no user named no-such-user-here")}


def test_the_users_that_the_kernel_cannot_name_are_no_ones() -> None:
    facts, why = find([AttachSpec("default/a", uid="65534")], "")["default/a"]

    assert facts == NONE
    assert "of its own" in why


def test_a_group_within_two_attached_ones_belongs_to_the_inner(tmp_path: Path) -> None:
    (tmp_path / "outer/inner/leaf").mkdir(parents=True)

    found = find([AttachSpec("d/outer", cgroup="/outer"), AttachSpec("d/inner", cgroup="/outer/inner")], str(tmp_path))

    assert found["d/outer"] == (Facts(-1, [inode(tmp_path, "outer")]), "")
    assert found["d/inner"] == (
        Facts(-1, sorted([inode(tmp_path, "outer/inner"), inode(tmp_path, "outer/inner/leaf")])),
        "",
    )


def test_both_a_user_and_a_group_must_hold(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    found = find([AttachSpec("d/a", uid=str(os.getuid()), cgroup="/a")], str(tmp_path))

    assert found["d/a"] == (Facts(os.getuid(), [inode(tmp_path, "a")]), "")


def test_a_unit_that_does_not_run_has_no_sockets(tmp_path: Path) -> None:
    found = find([AttachSpec("d/a", unit="web.service"), AttachSpec("d/b", uid="4711")], str(tmp_path))

    assert found["d/a"] == (NONE, "web.service has no control group: it does not run")
    assert found["d/b"] == (Facts(4711, None), "")


def test_a_box_without_the_tree_says_so() -> None:
    assert find([AttachSpec("d/a", unit="web.service")], "")["d/a"] == (NONE, "this box has no cgroup2 tree")
