"""Containers in a whole mesh: called and calling by name, under policies, with the identity of their service."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.denied import run_after
from tests.support.images import BUSYBOX, own_storage
from tests.support.processes import eventually
from tests.support.programs import needs
from tests.support.running import Door, Running, peer, running
from tests.support.supervised import RUNNERS
from tools.ports import free_port

OPEN, CLOSED = free_port(), free_port()
FETCH = "wget -q -O - http://web/echo/me; echo; wget -q -O - http://web/closed || echo refused; wget -q -O - http://private/ || echo refused too"
SERVE = "echo the image serves > /srv/index.html; exec httpd -f -p 80 -h /srv"
MESH = f"""
mesh: boxes
services:
  files:
    container:
      image: {BUSYBOX}
      command: [/bin/sh, -c, {json.dumps(SERVE)}]
      mounts: ["./served:/srv"]
    port: 80
    readiness: {{path: /index.html}}
    allow: [{{from: [web], paths: [/, /index.html]}}]
  fetcher:
    container: {{image: {BUSYBOX}, command: [/bin/sh, -c, {json.dumps(f"{FETCH}; exec sleep 1000")}]}}
    depends_on: [web]
    calls: [web]
  web:
    run: {peer("web")}
    port: 8080
    expose: {OPEN}
    allow: [{{paths: ["/call*"]}}, {{from: [fetcher], paths: ["/echo/*"]}}]
  private:
    run: {peer("private")}
    port: 8080
    expose: {CLOSED}
    allow: [{{paths: ["/call*"]}}]
"""
needs_root = pytest.mark.skipif("root" not in RUNNERS, reason="containers need root")
needs_podman = needs("podman", "busybox")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    served = tmp_path_factory.mktemp("served")
    served.chmod(0o777)
    with own_storage() as storage, pytest.MonkeyPatch.context() as patched:
        for name, value in storage.environment.items():
            patched.setenv(name, value)
        storage.build_busybox()
        with running("boxes", MESH.replace("./served", str(served))) as one:
            yield one


@needs_root
@needs_podman
def test_a_container_answers_whom_its_policy_lets_in_and_no_other(mesh: Running) -> None:
    allowed = Door(OPEN).call("http://files/index.html")
    other_path = Door(OPEN).call("http://files/else")
    other_caller = Door(CLOSED).call("http://files/index.html")

    assert (allowed["status"], allowed["body"]) == (200, "the image serves\n")
    assert (other_path["status"], other_path["reason"]) == (403, "denied")
    assert (other_caller["status"], other_caller["reason"]) == (403, "denied")


@needs_root
@needs_podman
def test_a_container_calls_as_its_service_and_what_it_says_is_in_its_log(mesh: Running) -> None:
    eventually(lambda: "refused too" in mesh.log("default/fetcher"), 20, "all three calls")

    said = mesh.log("default/fetcher")
    assert "refused" in said
    calls = {
        (one.labels["destination"], one.labels["response_class"])
        for one in mesh.series()
        if one.name == "tulle_requests_total" and one.labels.get("source") == "default/fetcher" and one.value
    }
    assert calls == {("default/web", "2xx"), ("default/web", "4xx"), ("default/private", "4xx")}
    assert "refused" in mesh.tulle("logs", "--mesh", "boxes", "fetcher").stdout


@needs_root
@needs_podman
def test_a_container_is_a_pod_in_the_status(mesh: Running) -> None:
    pods = {pod.name: pod for pod in mesh.status().pods}

    assert pods["default/files"].state == pods["default/fetcher"].state == "ready"
    assert pods["default/files"].way == pods["default/web"].way


@pytest.mark.user
def test_up_refuses_where_containers_are_impossible_and_says_why(tmp_path: Path) -> None:
    """As an ordinary user that is everywhere; as root, with a podman that does not work."""
    manifest = tmp_path / "mesh.yaml"
    manifest.write_text(f"mesh: impossible\nservices: {{files: {{container: {{image: {BUSYBOX}}}, port: 80}}}}\n")
    broken = tmp_path / "podman"
    broken.write_text("#!/bin/sh\necho 'Error: this podman is broken' >&2\nexit 125\n")
    broken.chmod(0o755)

    done = run_after("", "up", str(manifest), PATH=f"{tmp_path}:{os.environ['PATH']}")

    assert done.returncode == 1
    reason = "an ordinary user's podman cannot enter a pod" if os.getuid() else "podman info: this podman is broken"
    assert (
        "error[containers-impossible]: containers are impossible on this box, and default/files would be: "
        in done.stderr
    )
    assert reason in done.stderr
