import os
from pathlib import Path

import pytest

from tulle.kit.users import OVERFLOW_UID
from tulle.supervisor import cgroups
from tulle.supervisor.cgroups import NoGroup, find_unit, groups_of

OURS = os.getuid()


def tree(root: Path, *paths: str) -> str:
    for path in paths:
        (root / path).mkdir(parents=True)
    return str(root)


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("system.slice/web.service", "web.service"),
        ("system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("machine.slice/box.scope", "box.scope"),
        ("plant.slice/plant-hall.slice/press.service", "press.service"),
    ],
)
def test_a_unit_is_found_in_the_slices_of_the_system(tmp_path: Path, path: str, unit: str) -> None:
    assert find_unit(tree(tmp_path, path), unit, 0) == f"/{path}"


def test_a_unit_of_a_user_is_not_taken_for_one_of_the_system(tmp_path: Path) -> None:
    root = tree(tmp_path, "user.slice/user-1000.slice/user@1000.service/web.service", "system.slice")

    with pytest.raises(NoGroup, match="does not run"):
        find_unit(root, "web.service", 0)


def test_a_group_that_calls_itself_a_unit_within_another_unit_is_not_found(tmp_path: Path) -> None:
    root = tree(tmp_path, "system.slice/evil.service/web.service")

    with pytest.raises(NoGroup):
        find_unit(root, "web.service", 0)


def test_a_users_own_unit_is_found_for_that_user_first(tmp_path: Path) -> None:
    own = "user.slice/user-1000.slice/user@1000.service/app.slice/web.service"

    assert find_unit(tree(tmp_path, own, "system.slice/web.service"), "web.service", 1000) == f"/{own}"


def test_the_groups_below_belong_to_a_group(tmp_path: Path) -> None:
    root = tree(tmp_path, "system.slice/web.service/worker/inner", "system.slice/other.service")

    found = groups_of(root, "/system.slice/web.service", OURS)

    assert sorted(found.values()) == [
        "/system.slice/web.service",
        "/system.slice/web.service/worker",
        "/system.slice/web.service/worker/inner",
    ]
    assert all(os.stat(root + path).st_ino == group for group, path in found.items())  # noqa: PTH116


@pytest.mark.skipif(OURS != 0, reason="gives directories away")
def test_a_group_that_another_user_may_move_processes_into_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, "system.slice/theirs.service/web.service")
    os.chown(tmp_path / "system.slice/theirs.service", 64001, -1)

    with pytest.raises(NoGroup, match="uid 64001"):
        groups_of(root, "/system.slice/theirs.service/web.service", 0)

    assert groups_of(root, "/system.slice/theirs.service", 0)  # its own members cannot be joined from outside


@pytest.mark.skipif(OURS != 0, reason="gives directories away")
def test_a_users_own_unit_is_trusted_as_it_looks_in_a_user_namespace(tmp_path: Path) -> None:
    """Where root's slices, and those of other users, are all an unknown uid's."""
    own = "user.slice/user-1000.slice/user@1000.service/app.slice/web.service"
    root = tree(tmp_path, own, own.replace("1000", "1001"))
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 1000 if "user@1000.service" in str(path) else OVERFLOW_UID, -1)

    assert groups_of(root, f"/{own}", 1000)
    with pytest.raises(NoGroup, match=r"user-1001.slice \(uid 65534\)"):
        groups_of(root, f"/{own.replace('1000', '1001')}", 1000)


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_group_above_whose_processes_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    root = tree(tmp_path, "system.slice/some.slice/web.service")
    processes = tmp_path / "system.slice/some.slice/cgroup.procs"
    processes.touch()
    assert groups_of(root, "/system.slice/some.slice/web.service", OURS)

    processes.chmod(mode)

    with pytest.raises(NoGroup, match="everybody"):
        groups_of(root, "/system.slice/some.slice/web.service", OURS)


def test_a_group_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoGroup, match="no control group"):
        groups_of(tree(tmp_path, "system.slice"), "/system.slice/web.service", OURS)


def test_this_box_has_a_tree() -> None:
    assert (Path(cgroups.tree()) / "cgroup.controllers").is_file()
