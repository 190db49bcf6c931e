"""Attached services in a mesh of whoever runs it: what an ordinary user can have of it."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attached_mesh import REQUEST, address_of, get, status_of
from tests.support.processes import eventually
from tests.support.proxy_harness import Backends, echo
from tests.support.running import Door, Running, peer, running
from tools.exposition import total
from tools.ports import free_port
from tulle.wire.plan import FORWARD_PORT, DoorState
from tulle.wire.status import AddressLine

pytestmark = pytest.mark.user

DOOR = free_port()
FORWARD = ("127.0.0.1", FORWARD_PORT)


@pytest.fixture(scope="module")
def store() -> Iterator[int]:
    """A service of this very process; its port."""
    backends = Backends()
    yield backends.serve(echo)
    backends.close()


def manifest(store: int, more: str = "") -> str:
    return f"""
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
{more}"""


@pytest.fixture(scope="module")
def mesh(store: int) -> Iterator[Running]:
    with running("own", manifest(store)) as one:
        yield one


def test_own_process_is_recognised_where_it_dials_the_mesh(mesh: Running) -> None:
    own = REQUEST.replace(b"GET / ", b"GET /own ")
    assert get({}, (address_of(mesh.ask_agent("/snapshot"), "default/web"), 8080), own) == 200
    with socket.create_connection(("127.0.0.1", DOOR), timeout=20) as outsider:
        assert status_of(outsider, own) == 403


def test_own_process_is_reached_from_a_pod(mesh: Running, store: int) -> None:
    assert Door(DOOR).call(f"http://store:{store}/")["status"] == 200


def test_own_process_is_recognised_by_the_forward_proxy(mesh: Running) -> None:
    assert get({}, FORWARD, named("web", 8080, "/own")) == 200
    assert get({}, FORWARD, named("web", 8080, "/other")) == 403
    served = total(mesh.series(), "tulle_requests_total", source="default/store", response_class="2xx")
    assert served == total(mesh.series(), "tulle_requests_total", source="default/store") - 1 > 0


def test_program_on_every_address_is_named_with_what_helps_until_it_ends(mesh: Running, store: int) -> None:
    with socket.create_server(("0.0.0.0", 0)) as in_the_way:
        port = in_the_way.getsockname()[1]
        late = f"""
  late: {{run: {peer("late", "--port", str(port))}, port: {port}, allow: [{{from: [store]}}]}}
"""
        mesh.apply(manifest(store, late).replace("calls: [web]", "calls: [web, late]"))
        address = address_of(mesh.ask_agent("/snapshot"), "default/late")
        eventually(lambda: mesh.status().ready, 20, "ready, with one address closed")

        (closed,) = taken(mesh)
        assert closed.address == f"{address}:{port}"
        blamed = f"Address already in use, {Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()}) has it"
        said = mesh.tulle("status").stderr
        assert f"note: cannot listen at {address}:{port}: {blamed}. {closed.remedy}" in said
        assert "listen on 127.0.0.1 or another address instead of every one" in closed.remedy
        assert get({}, FORWARD, named("late", port)) == 200
    eventually(lambda: not taken(mesh), 20, "the address is open")
    assert get({}, (address, port), named("late", port, proxied=False)) == 200


def taken(mesh: Running) -> list[AddressLine]:
    """Addresses that another program keeps closed; an ordinary user's ports below 1024 are refused besides."""
    return [one for one in mesh.status().closed_addresses if one.state is DoorState.TAKEN]


def named(service: str, port: int, path: str = "/", *, proxied: bool = True) -> bytes:
    """A request as a client of a proxy makes it, or one that is not."""
    whole = f"http://{service}:{port}" if proxied else ""
    return f"GET {whole}{path} HTTP/1.1\r\nhost: {service}:{port}\r\n\r\n".encode()
