"""What an installation would write and run, for root and for an ordinary user. The systemd here only remembers what it was asked."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tulle.cli.apparmor import profile_file, program
from tulle.cli.installation import Installation, commands, home_for, planned, this_user
from tulle.cli.scope import Scope
from tulle.cli.uninstall import _end_lingering, _remains
from tulle.cli.words import Failure

MESH = "mesh: shop\n"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Systemctl:
    """Answers each command; those in `fails` with an error."""

    def __init__(self, *fails: str) -> None:
        self.fails = fails
        self.asked: list[str] = []

    def __call__(self, words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        line = " ".join(words)
        self.asked.append(line)
        failed = any(fail in line for fail in self.fails)
        return subprocess.CompletedProcess(words, int(failed), "", "no" if failed else "")


def scope(root: Path, *, is_system: bool = True, run: Systemctl | None = None) -> Scope:
    return Scope(
        is_system=is_system,
        units=root / "units",
        manifests=root / "etc",
        states=(root / "lib", root / "log", root / "run"),
        lingering=root / "linger",
        run=run or Systemctl(),
    )


def plan(one: Scope, files: dict[str, str] | None = None, home: str = "/srv/shop") -> Installation:
    return planned(one, "shop", files or {"/srv/shop/mesh.yaml": MESH}, Path(home), 10.0)


def installed(one: Scope, files: dict[str, str] | None = None) -> None:
    for path, text in plan(one, files).files.items():
        put(path, text)


def test_manifests_are_copied_beside_one_another_and_the_unit_names_their_directory(tmp_path: Path) -> None:
    made = plan(scope(tmp_path), {"/srv/shop/mesh.yaml": MESH, "/srv/more/extra.yml": "x", "/srv/plain": "y"})

    assert sorted(path.name for path in made.files if path.parent == tmp_path / "etc/shop") == [
        "extra.yml", "mesh.yaml", "plain.yaml",
    ]  # fmt: skip
    assert f"--home /srv/shop --manifest {tmp_path}/etc/shop\n" in made.unit.text


def test_two_manifests_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"two manifests are named mesh\.yaml"):
        plan(scope(tmp_path), {"/a/mesh.yaml": MESH, "/b/mesh.yaml": ""})


def test_the_same_again_changes_nothing_and_restarts_nothing(tmp_path: Path) -> None:
    box = scope(tmp_path)
    installed(box)

    again = plan(box)

    assert (again.changed, again.stale) == ([], [])
    assert commands(again, is_started=True)[-1] == ("systemctl", "start", "tulle-shop.service")


def test_other_manifests_replace_the_old_without_a_restart(tmp_path: Path) -> None:
    box = scope(tmp_path)
    installed(box, {"/srv/shop/mesh.yaml": MESH, "/srv/shop/old.yaml": ""})

    made = plan(box, {"/srv/shop/mesh.yaml": MESH + "# more\n"})

    assert made.changed == [tmp_path / "etc/shop/mesh.yaml"]
    assert made.stale == [tmp_path / "etc/shop/old.yaml"]
    assert commands(made, is_started=True)[-1] == ("systemctl", "start", "tulle-shop.service")


def test_another_unit_needs_a_restart_where_it_runs(tmp_path: Path) -> None:
    box = scope(tmp_path)
    installed(box)

    assert commands(plan(box, home="/elsewhere"), is_started=True)[-1] == ("systemctl", "restart", "tulle-shop.service")
    stopped = scope(tmp_path, run=Systemctl("is-active"))
    assert commands(plan(stopped, home="/elsewhere"), is_started=True)[-1][1] == "start"


def test_what_is_installed_remembers_where_its_relative_paths_start(tmp_path: Path) -> None:
    box = scope(tmp_path)
    installed(box)

    assert home_for(box, "shop", (tmp_path / "etc/shop",)) == Path("/srv/shop")
    assert home_for(box, "shop", (tmp_path / "elsewhere/mesh.yaml",)) == tmp_path / "elsewhere"


def test_a_user_is_made_to_linger_and_that_is_noted_also_when_it_is_done_again(tmp_path: Path) -> None:
    mine = scope(tmp_path, is_system=False, run=Systemctl("is-active"))
    made = plan(mine)

    assert ("loginctl", "enable-linger") in commands(made, is_started=True)
    assert commands(made, is_started=True)[-1] == ("systemctl", "--user", "start", "tulle-shop.service")
    installed(mine)
    assert mine.noted("shop")["Linger"] == "yes"
    assert plan(mine).changed == []
    put(tmp_path / "linger" / this_user(), "")
    assert plan(mine).changed == []
    assert ("loginctl", "enable-linger") not in commands(plan(mine), is_started=True)


def test_a_user_who_lingers_already_is_left_to_linger(tmp_path: Path) -> None:
    put(tmp_path / "linger" / this_user(), "")
    mine = scope(tmp_path, is_system=False)
    installed(mine)

    assert mine.noted("shop")["Linger"] == "no"
    assert ("loginctl", "enable-linger") not in commands(plan(mine), is_started=True)


def test_a_users_unit_starts_the_program_that_apparmor_knows(tmp_path: Path) -> None:
    assert f"ExecStart={program()} supervise --mesh shop" in plan(scope(tmp_path, is_system=False)).unit.text
    assert "supervise" not in plan(scope(tmp_path)).unit.text


def test_lingering_ends_with_the_last_that_needs_it(tmp_path: Path) -> None:
    systemctl = Systemctl()
    mine = scope(tmp_path, is_system=False, run=systemctl)
    put(tmp_path / "units/default.target.wants/syncthing.service", "")

    _end_lingering(mine)
    assert systemctl.asked == []

    (tmp_path / "units/default.target.wants/syncthing.service").unlink()
    _end_lingering(mine)
    assert systemctl.asked == ["loginctl disable-linger"]


def test_what_remains_is_all_that_can_be_there_and_state_is_spared_on_request(tmp_path: Path) -> None:
    box = scope(tmp_path)
    installed(box)
    for place in (
        "units/tulle-shop.service.d/own.conf",
        "lib/shop/tulle.db",
        "log/shop/agent.log",
        "run/shop/agent.sock",
    ):
        put(tmp_path / place, "")
    put(tmp_path / "units/multi-user.target.wants/tulle-shop.service", "")
    put(tmp_path / "units/tulle-other.service", "")

    def remains(*, keep_state: bool) -> set[str]:
        return {str(path.relative_to(tmp_path)) for path in _remains(box, "shop", keep_state=keep_state)}

    kept = {
        "units/multi-user.target.wants/tulle-shop.service", "units/tulle-shop.service.d", "units/tulle-shop.service",
        "etc/shop", "run/shop",
    }  # fmt: skip
    assert remains(keep_state=True) == kept
    assert remains(keep_state=False) == kept | {"lib/shop", "log/shop"}


def test_only_units_of_ours_count_as_installed(tmp_path: Path) -> None:
    box = scope(tmp_path)
    installed(box)
    put(tmp_path / "units/tulle-foreign.service", "[Service]\nExecStart=/bin/true\n")
    (tmp_path / "etc/half").mkdir(parents=True)

    assert box.installed() == ["half", "shop"]


def test_root_adds_the_profile_where_ordinary_users_are_restricted(tmp_path: Path) -> None:
    sources = {"/srv/shop/mesh.yaml": MESH}

    made = planned(scope(tmp_path), "shop", sources, Path("/srv"), 10.0, is_restricted=True)

    assert made.profile == profile_file(program())
    assert "userns," in made.files[profile_file(program())]
    assert commands(made, is_started=True)[0] == ("apparmor_parser", "--replace", str(made.profile))
    mine = planned(scope(tmp_path, is_system=False), "shop", sources, Path("/srv"), 10.0, is_restricted=True)
    assert mine.profile is None
    assert plan(scope(tmp_path)).profile is None


@pytest.mark.parametrize("home", ["/srv/a\nExecStartPre=/bin/evil", "/srv/\udcff"])
def test_a_home_that_would_write_other_lines_of_the_unit_is_refused(tmp_path: Path, home: str) -> None:
    with pytest.raises(Failure, match="cannot stand in a unit file"):
        plan(scope(tmp_path), home=home)
