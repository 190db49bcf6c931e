from pathlib import Path

import pytest

from tulle.kit import paths


def test_directories_are_made_for_their_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TULLE_RUNTIME_DIR", str(tmp_path / "run"))

    made = paths.runtime_dir("shop")

    assert made == tmp_path / "run" / "shop"
    assert made.stat().st_mode & 0o777 == 0o700
    assert made.parent.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_may_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TULLE_STATE_DIR", str(tmp_path))
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop").chmod(0o777)

    with pytest.raises(paths.UnsafeDirectory):
        paths.state_dir("shop")


def test_a_symbolic_link_is_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TULLE_STATE_DIR", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "shop").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(paths.UnsafeDirectory):
        paths.state_dir("shop")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_a_mesh_cannot_leave_its_parent(name: str) -> None:
    with pytest.raises(ValueError, match="not a directory name"):
        paths.runtime_dir(name, create=False)


def test_looking_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TULLE_STATE_DIR", str(tmp_path))

    assert paths.pod_log("shop", "prod/payments", create=False).name == "prod_payments.log"
    assert not (tmp_path / "shop").exists()


def test_logs_of_root_lie_where_the_hierarchy_has_them_and_those_of_a_user_with_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TULLE_STATE_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    places = {0: Path("/var/log/tulle/shop"), 1000: tmp_path / "tulle/shop/logs"}

    for uid, place in places.items():
        monkeypatch.setattr("os.getuid", lambda uid=uid: uid)
        assert paths.log_dir("shop", create=False) == place


def test_a_state_that_is_kept_elsewhere_keeps_its_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TULLE_STATE_DIR", str(tmp_path))

    assert paths.log_dir("shop", create=False) == tmp_path / "shop" / "logs"
