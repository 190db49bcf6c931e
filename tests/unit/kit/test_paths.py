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
