"""The forward proxy's path in a whole mesh: made, reached by who is attached and by others, gone in the end."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.attached import EVIL, Actor, cgroup2_tree, groups
from tests.support.attached_mesh import status_of
from tests.support.attached_path import get_at
from tests.support.processes import eventually
from tests.support.running import Running, peer, running
from tools.ports import free_port

TILL = 64013
REQUEST = b"GET /menu HTTP/1.1\r\nhost: web:8080\r\n\r\n"
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="several users are needed: run as root")


def mesh_of(attach: str) -> str:
    return f"""
mesh: path
services:
  till:
    attach: {attach}
    port: {free_port()}
    calls: [web]
  web:
    run: {peer("web")}
    port: 8080
    allow: [{{from: [till], paths: [/menu]}}]
"""


def path_of(mesh: Running) -> Path:
    return Path(mesh.environment["TULLE_RUNTIME_DIR"]) / f"{mesh.mesh}.forward/proxy.sock"


@pytest.fixture
def own() -> Iterator[Running]:
    """A mesh to which whoever runs this is attached."""
    with running("path", mesh_of(f'{{uid: "{os.getuid()}"}}')) as mesh:
        yield mesh


@pytest.mark.user
def test_path_is_there_while_something_is_attached_and_leads_to_its_services(own: Running) -> None:
    path = path_of(own)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(path))
        assert status_of(sock, REQUEST) == 200
        assert status_of(sock, REQUEST.replace(b"/menu", b"/keys")) == 403
    assert (path.parent.stat().st_mode & 0o777, path.parent.parent.stat().st_uid) == (0o755, os.getuid())

    own.tulle("upgrade", "--drain", "1")
    assert get_at({}, str(path), REQUEST) == 200

    own.apply("mesh: path\nservices:\n  web: {run: " + peer("web") + ", port: 8080}\n")
    eventually(lambda: not path.exists(), 10, "nobody is attached any more, and the path is gone")
    own.apply(mesh_of(f'{{uid: "{os.getuid()}"}}'))
    eventually(path.exists, 10, "the path is back")
    eventually(lambda: own.status().ready, 20, "ready")
    assert get_at({}, str(path), REQUEST) == 200
    own.tulle("down", "--mesh", "path")
    assert not path.parent.exists()


@pytest.mark.user
def test_what_is_in_the_way_of_the_path_is_told_and_forgotten_once_it_is_gone(own: Running) -> None:
    path = path_of(own)
    own.apply("mesh: path\nservices:\n  web: {run: " + peer("web") + ", port: 8080}\n")
    eventually(lambda: not path.exists(), 10, "the path is gone")
    path.mkdir()

    own.apply(mesh_of(f'{{uid: "{os.getuid()}"}}'))

    eventually(lambda: f"cannot listen at {path}: " in own.tulle("status", check=False).stderr, 10, "it is told")
    assert "http://127.0.0.1:15001" in own.tulle("status", check=False).stderr
    path.rmdir()
    eventually(path.is_socket, 20, "the path is there")
    eventually(lambda: str(path) not in own.tulle("status", check=False).stderr, 10, "it is forgotten")


@AS_ROOT
def test_callers_of_several_users_are_told_apart_by_their_units_group() -> None:
    with groups("till", "other") as group, Actor(TILL, group["till"]) as till, Actor(EVIL) as evil:
        place = "/" + str(group["till"].relative_to(cgroup2_tree()))
        with (
            running("path", mesh_of(f"{{cgroup: {place}}}")) as mesh,
            Actor(TILL, group["other"]) as same_user,
        ):
            path = path_of(mesh)
            path.parent.parent.chmod(0o711)  # the operator's matter, where TULLE_RUNTIME_DIR names it
            assert [actor.run(get_at, str(path), REQUEST) for actor in (till, evil, same_user)] == [200, 403, 403]
            assert evil.run(replaced, str(path)) == ["EACCES"] * 3
            assert till.run(get_at, str(path), REQUEST) == 200


def replaced(state: dict[str, object], path: str) -> list[str]:
    """What comes of putting something in a path's place."""
    attempts: list[Callable[[], object]] = [
        Path(path).unlink,
        lambda: Path(path).rename(path + ".old"),
        lambda: socket.socket(socket.AF_UNIX).bind(path + ".mine"),
    ]
    found = []
    for attempt in attempts:
        try:
            attempt()
        except OSError as fault:
            found.append(errno.errorcode[fault.errno or 0])
    return found
