"""The access log of a whole mesh: written by whichever proxy serves, kept by the supervisor, read by `tulle logs access`."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.processes import eventually
from tests.support.running import Running, peer, running
from tools.ports import free_port

OPEN = free_port()
MESH = f"""
mesh: told
services:
  orders:
    run: {peer("orders")}
    port: 8080
    expose: {OPEN}
    allow: [{{methods: [GET]}}]
telemetry:
  access_log: {{sample: 1, files: 2}}
"""
pytestmark = pytest.mark.user


@pytest.fixture(scope="module")
def mesh() -> Iterator[Running]:
    with running("told", MESH) as one:
        yield one


def ask(path: str, method: str = "GET") -> tuple[int, str]:
    """The status, and the request's id where the proxy answered by itself."""
    request = urllib.request.Request(f"http://127.0.0.1:{OPEN}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as fault:
        with fault:
            return fault.code, fault.headers["x-request-id"]


def told(mesh: Running, path: str) -> dict[str, Any]:
    """Waits for the line of a path."""

    def found() -> dict[str, Any] | None:
        lines = map(json.loads, mesh.tulle("logs", "access", "--json").stdout.splitlines())
        return next((one for one in lines if one.get("path") == path), None)

    return eventually(found, 10, f"a line of {path}")


def test_a_refusal_is_found_in_the_log_by_what_its_caller_was_told(mesh: Running) -> None:
    status, request_id = ask("/denied?token=secret", "DELETE")
    line = told(mesh, "/denied")

    assert status == 403
    assert (line["request_id"], line["reason"], line["destination"]) == (request_id, "denied", "default/orders")
    assert line["trace_id"] in mesh.tulle("why", request_id, check=False).stdout
    assert "secret" not in mesh.tulle("logs", "--all").stdout


def test_what_went_well_is_told_with_its_endpoint(mesh: Running) -> None:
    assert ask("/fine")[0] == 200

    assert told(mesh, "/fine")["endpoint"] == "default/orders:8080"


def test_a_new_proxy_goes_on_in_the_same_log(mesh: Running) -> None:
    ask("/before")
    told(mesh, "/before")
    before = mesh.processes.pid("proxy")
    mesh.processes.kill("proxy")
    mesh.processes.restarted("proxy", before)

    def is_served() -> bool:
        return ask("/after")[0] == 200

    eventually(is_served, 10, "the new proxy serves")
    assert told(mesh, "/after")["class"] == "2xx"
    assert told(mesh, "/before")["class"] == "2xx"


def test_a_mesh_told_to_keep_none_keeps_none(mesh: Running) -> None:
    ask("/kept")
    told(mesh, "/kept")

    mesh.apply(MESH.replace("files: 2", "files: 0"))

    eventually(lambda: mesh.tulle("logs", "access", "--json", check=False).stdout == "", 10, "the log is gone")
