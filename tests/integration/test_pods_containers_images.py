"""Where a container's image comes from: the box, and from outside only where the manifest says so."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import BUSYBOX, Storage, container, own_storage, shell, supervised_with
from tests.support.programs import needs
from tests.support.registry import Registry, registry
from tests.support.supervised import PATIENCE_SECONDS, RUNNERS, Supervised
from tools.footprint import descendants, name_of

pytestmark = [
    pytest.mark.skipif("root" not in RUNNERS, reason="containers need root"),
    needs("podman", "busybox"),
]

WEB = "default/web"
LATER = "localhost/tulle-later"
BROKEN = """#!/bin/sh
echo 'Error: this podman is broken' >&2
exit 125
"""


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    with own_storage() as one:
        one.build_busybox()
        yield one


@pytest.fixture
def mesh(storage: Storage) -> Iterator[Supervised]:
    with supervised_with(storage) as one:
        yield one


@pytest.fixture
def served(storage: Storage, tmp_path: Path) -> Iterator[Registry]:
    storage.podman("save", "--quiet", "--format", "oci-dir", "--output", str(tmp_path / "image"), BUSYBOX)
    with registry(tmp_path / "image") as one:
        storage.trust(one.address)
        yield one


def test_an_image_that_is_not_there_is_named_with_the_remedy_and_runs_once_it_is(
    mesh: Supervised, storage: Storage
) -> None:
    mesh.apply(container(mesh, WEB, image=LATER))
    why = mesh.await_state(WEB, "impossible").why
    assert why == (
        f"image: there is no image {LATER} on this box. Bring it with `podman pull`, `podman build` or `podman load`, "
        "as root; or say `pull: missing`"
    )

    storage.podman("tag", BUSYBOX, LATER)

    mesh.await_line(WEB, "the image speaks")
    mesh.await_state(WEB, "ready")


def test_nothing_is_pulled_unless_the_manifest_says_so(mesh: Supervised, served: Registry) -> None:
    mesh.apply(container(mesh, WEB, image=f"{served.address}/far"))
    mesh.await_state(WEB, "impossible", "there is no image")
    assert served.asked == []

    mesh.apply(container(mesh, WEB, image=f"{served.address}/far", pull="missing"))

    mesh.await_line(WEB, "the image speaks")
    mesh.await_state(WEB, "ready")
    assert any(one[WEB].why == f"pulling {served.address}/far" for one in mesh.seen if WEB in one)
    asked = len(served.asked)
    mesh.apply(shell(mesh, WEB, "echo again; exec sleep 1000", image=f"{served.address}/far", pull="missing"))
    mesh.await_line(WEB, "again")
    assert len(served.asked) == asked


def test_a_registry_that_does_not_answer_is_named(mesh: Supervised, served: Registry) -> None:
    served.shutdown()
    served.server_close()

    mesh.apply(container(mesh, WEB, image=f"{served.address}/silent", pull="missing"))

    assert "connection refused" in mesh.await_state(WEB, "impossible", f"podman pull {served.address}/silent").why


def test_a_pull_that_does_not_end_can_be_stopped(mesh: Supervised, storage: Storage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        storage.trust(address)
        mesh.apply(container(mesh, WEB, image=f"{address}/web", pull="missing"))
        mesh.await_state(WEB, "starting", f"pulling {address}/web")
        silent.settimeout(PATIENCE_SECONDS)
        connection, _ = silent.accept()
        with connection:
            assert names_below(mesh).count("podman") == 1

            mesh.apply()

            mesh.await_absence(WEB)
            mesh.wait_until(lambda: "podman" not in names_below(mesh), "podman is there")


def names_below(mesh: Supervised) -> list[str]:
    """Of the supervisor's descendants."""
    return [name_of(pid) for pid in descendants(mesh.process.pid)]


def test_a_podman_that_fails_is_quoted(storage: Storage, tmp_path: Path) -> None:
    broken = tmp_path / "podman"
    broken.write_text(BROKEN)
    broken.chmod(0o755)
    mesh = Supervised("root")
    mesh.environment = storage.environment | {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    with mesh:
        mesh.apply(container(mesh, WEB))

        assert "podman: podman info: this podman is broken. " in mesh.await_state(WEB, "impossible").why


def test_a_runtime_that_does_not_work_here_is_passed_over(storage: Storage, tmp_path: Path) -> None:
    for name in ("crun", "runc"):
        (tmp_path / name).write_text(BROKEN)
        (tmp_path / name).chmod(0o755)
    config = tmp_path / "containers.conf"
    usual = Path(storage.environment["CONTAINERS_CONF"]).read_text()
    mesh = Supervised("root")
    broken = f'runtime = "crun"\n[engine.runtimes]\ncrun = ["{tmp_path}/crun"]\n'
    config.write_text(usual + broken)
    mesh.environment = storage.environment | {"CONTAINERS_CONF": str(config)}
    with mesh:
        mesh.apply(container(mesh, WEB))

        mesh.await_state(WEB, "ready")
        assert '"runtime": "runc"' in (mesh.runtime / "containers" / "box.json").read_text()

    mesh = Supervised("root")
    config.write_text(usual + broken + f'runc = ["{tmp_path}/runc"]\n')
    mesh.environment = storage.environment | {"CONTAINERS_CONF": str(config)}
    with mesh:
        mesh.apply(container(mesh, WEB))

        why = mesh.await_state(WEB, "impossible", "runtime").why
        assert "crun: " in why
        assert "runc: " in why


def test_an_ordinary_user_is_told_that_containers_need_root() -> None:
    with Supervised("user") as mesh:
        mesh.apply(container(mesh, WEB))

        why = mesh.await_state(WEB, "impossible").why
        assert why.startswith("podman: containers need root: an ordinary user's podman cannot enter a pod. ")
