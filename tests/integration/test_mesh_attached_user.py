"""Attached services in a mesh of whoever runs it: what an ordinary user can have of it."""

import os
import socket
from collections.abc import Iterator

import pytest

from tests.support.attached_mesh import REQUEST, address_of, get, status_of
from tests.support.processes import free_port
from tests.support.proxy_harness import Backends, echo
from tests.support.running import Door, Running, peer, running

pytestmark = pytest.mark.user

DOOR = free_port()


@pytest.fixture(scope="module")
def store() -> Iterator[int]:
    """A service of this very process; its port."""
    backends = Backends()
    yield backends.serve(echo)
    backends.close()


@pytest.fixture(scope="module")
def mesh(store: int) -> Iterator[Running]:
    text = f"""
mesh: own
services:
  store: # whatever this user runs beside the mesh
    attach: {{uid: "{os.getuid()}"}}
    port: {store}
    allow: [{{from: [web]}}]
    calls: [web]
  web:
    run: {peer("web")}
    port: 8080
    expose: {DOOR}
    allow: [{{from: [store], paths: ["/own"]}}, {{paths: [/call]}}]
    calls: [store]
"""
    with running("own", text) as one:
        yield one


def test_own_process_is_recognised_where_it_dials_the_mesh(mesh: Running) -> None:
    own = REQUEST.replace(b"GET / ", b"GET /own ")
    assert get({}, (address_of(mesh.ask_agent("/snapshot"), "default/web"), 8080), own) == 200
    with socket.create_connection(("127.0.0.1", DOOR), timeout=20) as outsider:
        assert status_of(outsider, own) == 403


def test_own_process_is_reached_from_a_pod(mesh: Running, store: int) -> None:
    assert Door(DOOR).call(f"http://store:{store}/")["status"] == 200
