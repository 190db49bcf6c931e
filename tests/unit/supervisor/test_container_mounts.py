"""Which paths of the box a container may be given, decided before anything is mounted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tulle.supervisor.container_mounts import Ground, Mount, settle, writable_sources
from tulle.supervisor.steps import StepFailed

NOTHING = Ground([], [], [], [])


def refusal(source: str | Path, ground: Ground = NOTHING, *, writable: bool = False) -> str:
    """Why it is refused; empty when it is not."""
    try:
        settle(Mount(str(source), "/given", writable), ground)
    except StepFailed as fault:
        assert fault.step == "mounts"
        return fault.why
    return ""


@pytest.mark.parametrize(
    "source",
    [
        *("/run", "/var/run", "/var", "/var/lib", "/run/podman", "/run/podman/podman.sock", "/var/run/docker.sock"),
        *("/run/containerd/containerd.sock", "/run/systemd/private", "/run/dbus/system_bus_socket"),
        *("/var/lib/containers/storage/overlay", "/var/lib/docker/volumes"),
    ],
)
def test_what_would_make_a_container_root_of_the_box_is_refused_whether_it_is_there_or_not(source: str) -> None:
    assert refusal(source).endswith(": who has it is root of the box")


def test_what_holds_or_lies_in_a_hidden_directory_is_refused_and_its_neighbour_is_not(tmp_path: Path) -> None:
    for name in ("tulle/shop", "tulle-data"):
        (tmp_path / name).mkdir(parents=True)
    ground = Ground([str(tmp_path / "tulle")], [], [], [])

    for path in (tmp_path, tmp_path / "tulle", tmp_path / "tulle/shop", tmp_path / "tulle-data/../tulle"):
        assert "which is Tulle's or podman's own" in refusal(path, ground)
    assert refusal(tmp_path / "tulle-data", ground) == ""


def test_a_link_is_followed_once_and_not_where_a_service_may_have_made_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "shared").mkdir()
    for link in (tmp_path / "link", tmp_path / "shared/link"):
        link.symlink_to(tmp_path / "data")
    ground = Ground([], [], [], [str(tmp_path / "shared")])

    assert settle(Mount(str(tmp_path / "link"), "/given", True), ground).source == str(tmp_path / "data")
    assert "a link that a service may have made" in refusal(tmp_path / "shared/link", ground)


def test_a_link_on_the_way_to_a_manifest_cannot_be_given_for_writing(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").touch()
    (tmp_path / "given").mkdir()
    (tmp_path / "given/mesh.yaml").symlink_to(tmp_path / "real.yaml")
    ground = Ground([], [str(tmp_path / "given/mesh.yaml")], [], [])

    assert "which no service may replace" in refusal(tmp_path / "given", ground, writable=True)
    assert refusal(tmp_path / "given", ground) == ""


def test_what_is_refused_does_not_count_as_what_services_may_write(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    wanted = [("/", "/a", "rw"), ("/proc/1/root", "/b", "rw"), (str(tmp_path), "/c", "ro"), ("volume", "/d", "rw")]

    assert writable_sources([*wanted, (str(tmp_path / "data"), "/e", "rw")], NOTHING) == [str(tmp_path / "data")]


def test_a_supervisor_without_containers_imports_nothing_of_them() -> None:
    look = "import sys, tulle.supervisor.supervisor; print([one for one in sys.modules if 'container' in one])"

    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout

    assert said == "[]\n"
