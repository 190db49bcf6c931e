"""A service that is not isolated in a whole mesh: it serves as others do, and whom it calls does not know it."""

from collections.abc import Iterator

import pytest

from tests.support.running import Door, Running, peer, running
from tests.support.supervised import python_for
from tools.ports import free_port

PLAIN, ASKED, OPEN, CLOSED = (free_port() for _ in range(4))
MESH = f"""
mesh: plain
services:
  legacy: # by ASKED from outside, by name from web; dials what it likes
    run: {peer("legacy", "--port", str(PLAIN), python=python_for(1))}
    port: {PLAIN}
    expose: {ASKED}
    isolation: none
    allow: [{{}}]
  web:
    run: {peer("web")}
    port: 8080
    expose: {OPEN}
    calls: [legacy]
    allow: [{{}}]
  private: # for its namespace, of which nothing proves that legacy is
    run: {peer("private")}
    port: 8080
    expose: {CLOSED}
    allow: [{{from: ["default/*"]}}]
"""
pytestmark = pytest.mark.user


@pytest.fixture(scope="module")
def mesh() -> Iterator[Running]:
    with running("plain", MESH) as one:
        yield one


def requests(mesh: Running, source: str, destination: str, of_class: str) -> float:
    wanted = {"source": source, "destination": destination, "response_class": of_class}
    return sum(
        one.value for one in mesh.series()
        if one.name == "tulle_requests_total" and wanted.items() <= one.labels.items()
    )  # fmt: skip


def test_it_serves_a_pod_by_its_name_and_the_world_by_its_door(mesh: Running) -> None:
    called = Door(OPEN).call(f"http://legacy:{PLAIN}/")

    assert (called["status"], '"name": "legacy"' in called["body"]) == (200, True)
    assert requests(mesh, "default/web", "default/legacy", "2xx") == 1
    assert Door(ASKED).ask("/")["name"] == "legacy"
    assert mesh.tulle("why", "anonymous", "legacy").returncode == 0


def test_who_it_calls_sees_nobody_s_name(mesh: Running) -> None:
    before = requests(mesh, "anonymous", "default/web", "2xx")

    called = Door(ASKED).call(f"http://127.0.0.1:{OPEN}/")

    assert (called["status"], '"name": "web"' in called["body"]) == (200, True)
    assert requests(mesh, "anonymous", "default/web", "2xx") == before + 1
    assert requests(mesh, "default/legacy", "default/web", "2xx") == 0


def test_a_rule_for_its_own_namespace_does_not_let_it_in(mesh: Running) -> None:
    assert Door(OPEN).call("http://private:8080/")["reason"] == "calls-denied"
    refused = Door(ASKED).call(f"http://127.0.0.1:{CLOSED}/")

    assert (refused["status"], refused["reason"]) == (403, "denied")
    assert requests(mesh, "anonymous", "default/private", "4xx") == 1


def test_names_of_the_mesh_are_not_for_it(mesh: Running) -> None:
    assert "error" in Door(ASKED).ask("/resolve?name=private.default")
    status = {pod.name: pod for pod in mesh.status().pods}
    assert (status["default/legacy"].way, status["default/web"].way != "") == ("", True)
