"""A change of the manifest reaches a mesh at work: whole or not at all, and nobody waits for it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.processes import eventually
from tests.support.running import Door, Running, load_from_outside, peer, running
from tools.ports import free_port

RELOADS = 50
pytestmark = [pytest.mark.user, pytest.mark.timeout(180)]


def manifest(door: int, weight: int = 1, more: str = "") -> str:
    """Web before two versions of orders."""
    return f"""
mesh: reload
services:
  web:
    run: {peer("web")}
    port: 8080
    expose: {door}
    allow: [{{methods: [GET, POST]}}]
  orders:
    port: 9000
    versions:
      v1: {{run: {peer("orders", "--port", "9000", "--version", "v1")}, weight: 99}}
      v2: {{run: {peer("orders", "--port", "9000", "--version", "v2")}, weight: {weight}}}
    allow: [{{from: [web]}}]
{more}"""


LATE = f"""
  late:
    run: {peer("late")}
    port: 8080
    allow: [{{from: [web]}}]
"""


@pytest.fixture(scope="module")
def door() -> int:
    return free_port()


@pytest.fixture(scope="module")
def mesh(door: int) -> Iterator[Running]:
    with running("reload", manifest(door)) as one:
        yield one


def test_fifty_reloads_under_load_fail_no_request(mesh: Running, door: int) -> None:
    web = Door(door)
    with (
        load_from_outside(web.url + "/", rate=100, connections=8) as kept,
        load_from_outside(web.url + "/", rate=50, connections=16, keep_alive=False) as anew,
    ):
        web.start_load("http://orders/", rate=100, seconds=150, connections=8)
        for reload in range(RELOADS):
            mesh.apply(manifest(door, weight=2 + reload % 7))
    inside = web.stop_load()

    assert (kept.failed, anew.failed, inside["failed"]) == (0, 0, 0), (kept.failures, anew.failures, inside)
    assert min(kept.answered, anew.answered, inside["answered"]) > 100


def test_a_bad_manifest_changes_nothing_and_says_where(mesh: Running, door: int) -> None:
    web = Door(door)
    mesh.apply(manifest(door, weight=11))
    before = mesh.status()

    mesh.write(manifest(door).replace("allow:", "alow:", 1))

    problem = eventually(lambda: mesh.status().problems, 10, "a problem in the status")[0]
    assert (problem.line, problem.code) != (0, "")
    assert "allow" in problem.hint
    assert mesh.status().proxy.generation == before.proxy.generation
    assert web.call("http://orders/")["status"] == 200
    mesh.apply(manifest(door, weight=12))
    assert not mesh.status().problems


def test_a_new_service_is_known_in_running_pods_without_a_restart(mesh: Running, door: int) -> None:
    web = Door(door)
    pid = mesh.pod_pid("default/web")
    assert web.call("http://late/") == {"error": "gaierror"}

    mesh.apply(manifest(door, weight=13, more=LATE))

    called = eventually(lambda: _answered(web.call("http://late/")), 15, "the new service answers")
    assert '"name": "late"' in called["body"]
    mesh.apply(manifest(door, weight=14))
    eventually(lambda: web.ask("/resolve?name=late") == {"error": "gaierror"}, 10, "the name is gone")
    assert mesh.pod_pid("default/web") == pid


def _answered(called: dict[str, Any]) -> dict[str, Any] | None:
    return called if called.get("status") == 200 else None
