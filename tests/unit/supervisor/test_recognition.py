import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.loop import Loop
from tulle.supervisor.recognition import NONE, Facts, Recognition, find
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


class Told:
    """A line to the proxy that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def attached(self, name: str, uid: int, cgroups: list[int] | None) -> None:
        self.said.append(("attached", name, uid, cgroups))

    def detached(self, name: str) -> None:
        self.said.append(("detached", name))


def test_what_is_recognised_otherwise_than_before_is_gone_first() -> None:
    told = Told()
    recognition = Recognition(cast("Loop", None), cast("ProxyLink", told), print, lambda: None)
    first, other, second = AttachSpec("d/a", uid="1"), AttachSpec("d/b", uid="2"), AttachSpec("d/a", uid="3")

    for specs in [first, other], [first, other], [second, other], [other]:
        recognition.want(specs)

    assert told.said == [
        ("attached", "d/a", 1, None),
        ("attached", "d/b", 2, None),
        ("detached", "d/a"),
        ("attached", "d/a", 3, None),
        ("detached", "d/a"),
    ]


class Later:
    """A loop of which only the timers are of interest."""

    def __init__(self) -> None:
        self.due: list[Callable[[], object]] = []

    def later(self, seconds: float, callback: Callable[[], object]) -> "Later":
        self.due.append(callback)
        return self

    def cancel(self) -> None:
        self.due.clear()


def test_a_user_is_asked_for_until_there_is_one_and_then_once_a_plan() -> None:
    told, later, asked = Told(), Later(), list[str]()
    uids = {"cam": 7}

    def find_uid(name: str) -> int:
        asked.append(name)
        if name not in uids:
            raise LookupError(f"no user named {name}")
        return uids[name]

    recognition = Recognition(cast("Loop", later), cast("ProxyLink", told), print, lambda: None, find_uid)
    specs = [AttachSpec("d/cam", uid="cam"), AttachSpec("d/new", uid="new")]
    recognition.want(specs)
    uids["new"] = 8
    later.due[0]()
    recognition.look()

    assert asked == ["cam", "new", "new"]
    assert told.said == [
        ("attached", "d/cam", 7, None),
        ("attached", "d/new", *NONE),
        ("attached", "d/new", 8, None),
    ]
    assert not later.due

    recognition.want(specs)
    assert asked == ["cam", "new", "new", "cam", "new"]
