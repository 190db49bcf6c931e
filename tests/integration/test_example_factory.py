"""The factory as it stands, as root; every claim it makes is checked from outside: in Prometheus, at the broker, at a squatter."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener, urlopen

import pytest

from tests.support.attached import Actor, cgroup2_tree
from tests.support.processes import eventually
from tests.support.prometheus import Prometheus, prometheus
from tests.support.running import EXAMPLES, Running, free_ports, running_example

BOX = EXAMPLES / "factory/box.sh"
PORTS = free_ports(18082)
HISTORIAN, OTHER = 64200, 64201
PORT = 7000
GROUP = "factory/historian"
pytestmark = [pytest.mark.timeout(180), pytest.mark.skipif(os.getuid() != 0, reason="containers and control groups")]


class Factory:
    """The mesh, and what is on the box beside it."""

    def __init__(self, mesh: Running, receiver: Prometheus, historian: "Historian") -> None:
        self.mesh = mesh
        self.receiver = receiver
        self.historian = historian

    def panel(self, path: str, body: bytes | None = None) -> str:
        """What the panel answers."""
        request = Request(f"http://127.0.0.1:{PORTS[18082]}{path}", data=body)
        try:
            with urlopen(request, timeout=10) as answer:
                return str(answer.read().decode().strip())
        except HTTPError as refused:
            return f"{refused.code} {refused.read().decode()}"

    def counted(self, source: str, destination: str, **labels: str) -> float:
        """Requests between two, as Prometheus has them."""
        return self.held("tulle_requests_total", source=source, destination=destination, **labels)

    def held(self, name: str, **labels: str) -> float:
        """A sum over the series with these labels, as Prometheus has them."""
        wanted = ",".join(f'{key}="{value}"' for key, value in (labels | {"site": "hall-3"}).items())
        return self.receiver.value(f"sum({name}{{{wanted}}})") or 0.0


class Historian:
    """The service that the box runs."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it listens."""
        with self._log.open("ab") as log:
            environment = {**os.environ, "PYTHON": sys.executable}  # one that its user may read
            self._process = subprocess.Popen([BOX, "historian"], stdout=log, stderr=log, env=environment)
        eventually(lambda: takes_connections("::1"), 30, f"the historian listens: {self.says()}")

    def stop(self) -> None:
        """Returns once nothing is left of it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def says(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


def takes_connections(host: str) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, PORT)) == 0


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    box = tmp_path_factory.mktemp("box")
    built = subprocess.run([BOX, "image"], capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    historian = Historian(box / "historian.log")
    try:
        historian.start()
        with prometheus(box / "prometheus") as receiver:
            ports = {**PORTS, 19090: receiver.port}
            with running_example("factory", ports, own_python=True) as mesh:
                yield Factory(mesh, receiver, historian)
    finally:
        historian.stop()
        group = cgroup2_tree() / GROUP
        eventually(lambda: not (group / "cgroup.procs").read_text(), 10, "the historian's group is empty")
        group.rmdir()
        group.parent.rmdir()
        subprocess.run(["podman", "rmi", "--force", "localhost/tulle-factory-labels"], capture_output=True, check=False)


def test_prometheus_holds_what_was_sent(factory: Factory) -> None:
    assert [factory.panel("/label") for _ in range(40)] == ["PRESS 4711"] * 40
    assert [factory.panel("/lines", b"pressed") for _ in range(25)] == [f"kept {count}" for count in range(1, 26)]

    eventually(lambda: factory.counted("anonymous", "default/panel") == 65, 20, "65 requests to the panel")
    assert factory.counted("default/panel", "default/labels", response_class="2xx") == 40
    assert factory.counted("default/panel", "default/historian", response_class="2xx") == 25
    assert factory.counted("default/panel", "default/historian") == 25


def test_the_container_calls_by_its_own_name_and_is_called(factory: Factory) -> None:
    eventually(lambda: re.search(r"\b25 lines$", factory.mesh.log("default/labels"), re.MULTILINE), 20, "25 lines")

    eventually(
        lambda: factory.counted("default/labels", "default/historian", response_class="2xx") > 0,
        20,
        "its calls counted",
    )
    assert factory.counted("default/labels", "default/labels") == 0


def test_what_is_attached_calls_by_the_forward_proxy(factory: Factory) -> None:
    assert "label PRESS 4711" in factory.historian.says()

    eventually(
        lambda: factory.counted("default/historian", "default/labels", response_class="2xx") > 0,
        20,
        "its calls counted",
    )
    attached = factory.mesh.status().attached
    assert [(one.name, one.is_known) for one in attached] == [("default/historian", True)]


def dial_by_forward_proxy(_: dict[str, Any], url: str) -> str:
    opener = build_opener(ProxyHandler({"http": "http://127.0.0.1:15001"}))
    try:
        with opener.open(url, timeout=10) as answer:
            return f"{answer.status} {answer.read().decode().strip()}"
    except HTTPError as refused:
        return f"{refused.code} {refused.headers['x-tulle-reason']}"


def dial_by_address(_: dict[str, Any], url: str) -> str:
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), parts.port or 80), timeout=10) as link:
        link.sendall(b"GET /index.html HTTP/1.1\r\nHost: labels\r\nConnection: close\r\n\r\n")
        answer = b""
        while more := link.recv(65536):
            answer += more
    reason = re.search(rb"x-tulle-reason: (\S+)", answer)
    said = reason[1] if reason else answer.partition(b"\r\n\r\n")[2]
    return f"{answer[9:12].decode()} {said.decode().strip()}"


@pytest.mark.parametrize("dial", [dial_by_forward_proxy, dial_by_address])
def test_an_impostor_is_nobody(factory: Factory, dial: Any) -> None:
    line = next(one for one in factory.mesh.tulle("get", "hosts").stdout.splitlines() if " labels " in one)
    host = "labels" if dial is dial_by_forward_proxy else line.split()[0]
    url = f"http://{host}:8000/index.html"
    group = cgroup2_tree() / GROUP

    with (
        Actor(HISTORIAN, group) as itself,
        Actor(HISTORIAN) as another_group,
        Actor(OTHER, group) as another_user,
        Actor(0, group) as root,
    ):
        assert itself.run(dial, url) == "200 PRESS 4711"
        assert another_group.run(dial, url) == "403 denied"
        assert another_user.run(dial, url) == "403 denied"
        assert root.run(dial, url) == "403 denied"


def squat(state: dict[str, Any], host: str) -> None:
    """Listens, and keeps whatever comes, as far as it comes."""
    state["listener"] = socket.create_server((host, PORT), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    state["listener"].setblocking(False)


def heard(state: dict[str, Any]) -> list[bytes]:
    """What each connection brought."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            link, _ = state["listener"].accept()
            link.settimeout(1)
            with contextlib.suppress(OSError):
                found.append(link.recv(65536))
    return found


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_a_squatter_hears_nothing(factory: Factory, host: str) -> None:
    before = factory.held("tulle_squatted_total", workload="default/historian")
    factory.historian.stop()
    try:
        with Actor(OTHER) as squatter:
            squatter.run(squat, host)
            assert factory.panel("/lines", b"secret") == "503 squatted"
            assert [octets for octets in squatter.run(heard) if octets] == []
    finally:
        factory.historian.start()
    eventually(
        lambda: factory.held("tulle_squatted_total", workload="default/historian") > before, 20, "the squatter counted"
    )

    assert factory.panel("/lines", b"again") == "kept 1"


def test_only_who_may_publishes(factory: Factory) -> None:
    eventually(
        lambda: factory.mesh.log("default/board").count("hall/temperature 21") > 1, 20, "the board hears the gauge"
    )

    eventually(lambda: "onnection was lost" in factory.mesh.log("default/spy"), 20, "the spy is refused")
    assert "hall/temperature 99" not in factory.mesh.log("default/board")
    assert "spy" not in factory.mesh.log("default/broker")
    assert "as gauge" in factory.mesh.log("default/broker")
    denied = {"source": "default/spy", "destination": "default/broker"}
    eventually(lambda: factory.held("tulle_denied_total", **denied) > 0, 20, "the denials in Prometheus")
    assert factory.held("tulle_denied_total", source="default/gauge") == 0


def test_readings_stream_by_grpc(factory: Factory) -> None:
    eventually(lambda: "reading 3 is there" in factory.mesh.log("default/sensor"), 20, "readings")

    eventually(
        lambda: factory.held("tulle_connections_open", source="default/sensor", destination="default/collector") == 1,
        20,
        "its connection in Prometheus",
    )
    assert "the stream ended" not in factory.mesh.log("default/sensor")


def test_the_screen_speaks_by_websocket(factory: Factory) -> None:
    eventually(lambda: "heard screen: sentence" in factory.mesh.log("default/screen"), 20, "it hears itself")

    eventually(lambda: factory.held("tulle_connections_open", protocol="websocket") == 1, 20, "it is in Prometheus")


def test_a_killed_container_comes_back(factory: Factory) -> None:
    os.kill(factory.mesh.pod_pid("default/labels"), signal.SIGKILL)

    def is_back() -> bool:
        (pod,) = [one for one in factory.mesh.status().pods if one.name == "default/labels"]
        return pod.restarts == 1 and pod.state == "ready"

    eventually(is_back, 30, "the container runs again")
    assert factory.panel("/label") == "PRESS 4711"
