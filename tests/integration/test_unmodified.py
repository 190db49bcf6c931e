"""Programs that know nothing of a mesh, as Debian ships them: nginx and Node in pods, PostgreSQL beyond."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.processes import eventually
from tests.support.running import Running, free_ports, running_example

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/unmodified"
PORTS = free_ports(18081, 15432)
DOOR, POSTGRES = PORTS[18081], PORTS[15432]
NEEDED = ("/usr/sbin/nginx", "node", "psql")
pytestmark = [
    pytest.mark.user,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        not all(map(shutil.which, NEEDED)) or not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")),
        reason="needs Debian's nginx, nodejs and postgresql",
    ),
]


@pytest.fixture(scope="module")
def postgres() -> Iterator[None]:
    """The example's own throwaway server, ready."""
    with subprocess.Popen(
        [str(EXAMPLE / "postgres.sh"), str(POSTGRES)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            eventually(lambda: _takes_connections(POSTGRES), 60, "PostgreSQL listens")
            yield
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def mesh(postgres: None) -> Iterator[Running]:
    with running_example("unmodified", PORTS) as one:
        yield one


def _takes_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.usefixtures("mesh")
def test_nginx_on_port_80_of_its_pod_answers_at_the_door() -> None:
    with urlopen(f"http://127.0.0.1:{DOOR}/") as answer:
        assert answer.read() == b"nginx in a pod\n"
        assert answer.headers["server"].startswith("nginx/")


@pytest.mark.usefixtures("mesh")
def test_nginx_reaches_node_that_listens_on_ipv6_alone() -> None:
    with urlopen(f"http://127.0.0.1:{DOOR}/api/v1") as answer:
        assert json.loads(answer.read()) == {"from": "node", "path": "/v1"}


def test_psql_reaches_postgresql_from_the_pod_that_may(mesh: Running) -> None:
    eventually(lambda: "the database says 42" in mesh.log("default/reports"), 20, "an answer of the database")


def test_psql_of_the_pod_that_may_not_gets_no_answer(mesh: Running) -> None:
    said = eventually(lambda: mesh.log("default/intern"), 20, "what the intern's psql said")

    assert "no answer: psql: error" in said, said
    assert "the database says" not in said
    denied = [s for s in mesh.series() if s.name == "tulle_denied_total" and s.labels["source"] == "default/intern"]
    assert sum(s.value for s in denied) > 0
