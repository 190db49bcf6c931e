"""The smallest example, as it stands, keeps what every mesh promises of its processes, sockets and metrics."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.processes import eventually
from tests.support.programs import needs
from tests.support.running import Running, running_example
from tools.exposition import parse, total

pytestmark = pytest.mark.user


@pytest.fixture(scope="module")
def mesh() -> Iterator[Running]:
    with running_example("hello", {}) as one:
        eventually(lambda: "Hello" in one.log("default/visitor"), 20, "the visitor was greeted")
        yield one


@pytest.fixture
def scraped(mesh: Running) -> str:
    """What Prometheus reads, where the supervisor says that it is: at the documented port, unless that is taken."""
    said = mesh.log("supervisor")
    (address,) = re.findall(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", said)
    assert ":15020/" in address or "cannot use port 15020" in said
    with urlopen(address, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def test_prometheus_finds_the_pair(scraped: str) -> None:
    labels = {"source": "default/visitor", "destination": "default/greeter", "response_class": "2xx"}
    assert total(parse(scraped), "tulle_requests_total", **labels) > 0


@needs("promtool")
def test_a_mesh_at_work_passes_promtool(scraped: str) -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=scraped, capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_proxy_of_a_mesh_holds_no_capability_and_is_not_root(mesh: Running) -> None:
    status = Path(f"/proc/{mesh.processes.pid('proxy')}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

    assert {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert facts["NoNewPrivs"] == "1"
    assert "0" not in facts["Uid"].split()


@pytest.mark.parametrize("socket", ["agent.sock", "admin.sock"])
def test_a_socket_of_an_api_is_for_its_owner_only(mesh: Running, socket: str) -> None:
    path = Path(mesh.environment["TULLE_RUNTIME_DIR"]) / "hello" / socket

    assert path.stat().st_mode & 0o777 == 0o600
