"""The factory as it stands, as root; every claim it makes is checked from outside: in Prometheus, at the broker, at a squatter."""

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener, urlopen

import pytest

from tests.support.attached import Actor, cgroup2_tree
from tests.support.attached_mesh import address_of
from tests.support.processes import eventually
from tests.support.prometheus import Prometheus, prometheus
from tests.support.running import EXAMPLES, Running, free_ports, running_example
from tools.exposition import total

BOX = EXAMPLES / "factory/box.sh"
PORTS = free_ports(18082)
HISTORIAN, OTHER = 64200, 64201
PORT = 7000
GROUP = "factory/historian"
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
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

    def until_all_is_counted(self) -> None:
        """Returns once Prometheus has what the proxy has counted of calls from outside, and so of those before."""
        own = total(self.mesh.series(), "tulle_requests_total", source="anonymous", destination="default/panel")
        eventually(lambda: self.counted("anonymous", "default/panel") == own, 20, "all is counted")

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
    eventually(lambda: "label PRESS 4711" in factory.historian.says(), 20, "it fetches the label, once a second")

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
    eventually(lambda: "as gauge" in factory.mesh.log("default/broker"), 20, "the broker tells of the gauge")
    assert "spy" not in factory.mesh.log("default/broker")
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


PORT_OF = {"panel": 8080, "labels": 8000, "historian": PORT, "collector": 50051, "room": 8000, "broker": 1883}
MAY: dict[str, dict[str, tuple[str, ...]]] = {
    "panel": {"panel": ("GET", "POST"), "labels": ("GET",), "historian": ("POST",)},
    "labels": {"panel": ("GET", "POST"), "historian": ("GET",)},
    "historian": {"labels": ("GET",)},
    "sensor": {"panel": ("GET", "POST"), "collector": ("POST",)},
    "screen": {"panel": ("GET", "POST"), "room": ("GET",)},
    "gauge": {"panel": ("GET", "POST"), "broker": ("open",)},
    "board": {"panel": ("GET", "POST"), "broker": ("open",)},
    "spy": {"panel": ("GET", "POST")},
}
"""Who may call whom, as the README has it; all else is tried. Whoever names `calls` may call no others."""
METHODS = ("GET", "POST", "PUT", "DELETE")
HELLO_MQTT = bytes.fromhex("100d00044d51545404020014000161")
"""CONNECT of a client named `a`: a broker that hears it answers."""
CONNACK = b"\x20"


def answers(_: dict[str, Any], address: str, port: int, request: bytes) -> bytes:
    """What first comes back; nothing where the connection is ended instead."""
    with contextlib.suppress(ConnectionResetError), socket.create_connection((address, port), timeout=10) as link:
        link.sendall(request)
        return link.recv(65536)
    return b""


def join_network(pid: int) -> None:
    """This process is in the pod's network from now on."""
    with Path(f"/proc/{pid}/ns/net").open("rb") as network:
        assert LIBC.setns(network.fileno(), CLONE_NEWNET) == 0


@pytest.mark.parametrize("caller", MAY)
def test_nobody_calls_whom_it_may_not(factory: Factory, caller: str) -> None:
    snapshot = factory.mesh.ask_agent("/snapshot")
    let_in = []
    if caller == "historian":
        actor = Actor(HISTORIAN, cgroup2_tree() / GROUP)
    else:
        actor = Actor(prepare=partial(join_network, factory.mesh.pod_pid(f"default/{caller}")))
    with actor:
        for service, port in PORT_OF.items():
            address, allowed = address_of(snapshot, f"default/{service}"), MAY[caller].get(service, ())
            if service == "broker":
                answer = actor.run(answers, address, port, HELLO_MQTT)
                assert (answer[:1] == CONNACK) == ("open" in allowed), answer
                continue
            for method in set(METHODS) - {*allowed}:
                request = f"{method} /lines HTTP/1.1\r\nhost: {service}\r\ncontent-length: 0\r\n\r\n"
                answer = actor.run(answers, address, port, request.encode())
                if not answer.startswith(b"HTTP/1.1 403 "):
                    let_in.append(f"{method} {service}: {answer!r}")
    assert let_in == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_the_door_takes_get_and_post_alone(factory: Factory, method: str) -> None:
    request = f"{method} /label HTTP/1.1\r\nhost: panel\r\ncontent-length: 0\r\n\r\n".encode()
    assert answers({}, "127.0.0.1", PORTS[18082], request).startswith(b"HTTP/1.1 403 ")


def test_an_upgrade_in_the_middle_loses_no_request_and_no_count(factory: Factory) -> None:
    mesh, said = factory.mesh, factory.historian.says()
    series = {
        "panel": partial(factory.counted, "anonymous", "default/panel", response_class="2xx"),
        "labels": partial(factory.counted, "default/panel", "default/labels", response_class="2xx"),
    }
    factory.until_all_is_counted()
    before = {name: value() for name, value in series.items()}
    answered: list[str] = []
    is_over = threading.Event()

    def press() -> None:
        while not is_over.is_set():
            answered.append(factory.panel("/label"))

    def goes_on() -> None:
        wanted = len(answered) + 20
        eventually(lambda: len(answered) >= wanted, 20, "20 more answers")

    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        goes_on()
        old = mesh.status()
        mesh.tulle("upgrade", "--wait", "--drain", "3")
        goes_on()
    finally:
        is_over.set()
        pressing.join()
    assert mesh.status().proxies[0].pid != old.proxies[0].pid
    assert mesh.status().agent_pid != old.agent_pid
    assert set(answered) == {"PRESS 4711"}
    wanted = {name: count + len(answered) for name, count in before.items()}
    eventually(lambda: {name: value() for name, value in series.items()} == wanted, 20, f"counts of {wanted}")
    own = [line for line in factory.historian.says().removeprefix(said).splitlines() if '"GET /lines' not in line]
    assert set(own) == {"label PRESS 4711"}
    eventually(lambda: factory.mesh.log("default/board").count("hall/temperature 21") > 1, 20, "readings")
    assert "hall/temperature 99" not in factory.mesh.log("default/board")


def test_a_killed_container_comes_back(factory: Factory) -> None:
    os.kill(factory.mesh.pod_pid("default/labels"), signal.SIGKILL)

    def is_back() -> bool:
        (pod,) = [one for one in factory.mesh.status().pods if one.name == "default/labels"]
        return pod.restarts == 1 and pod.state == "ready"

    eventually(is_back, 30, "the container runs again")
    assert factory.panel("/label") == "PRESS 4711"
