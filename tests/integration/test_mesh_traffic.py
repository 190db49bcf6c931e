"""What a mesh promises its callers: who may, who may not and why, how much goes where. Real processes, one mesh for all."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.running import Door, Running, peer, running
from tools.binomial import is_kept
from tools.exposition import total
from tools.ports import free_port

pytestmark = [pytest.mark.user, pytest.mark.timeout(180)]


class Reverser:
    """A TCP service of the host, beyond the mesh: reads a stream to its end, answers it reversed."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            with connection, connection.makefile("rb") as stream:
                connection.sendall(stream.read()[::-1])

    def close(self) -> None:
        """Ends the thread, too."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


class Mesh:
    """The mesh under test and the ways into it."""

    def __init__(self, mesh: Running, web: int, other: int, intruder: int, outside: Reverser) -> None:
        self.running = mesh
        self.web, self.other, self.intruder = Door(web), Door(other), Door(intruder)
        self.outside = outside


def manifest(web: int, other: int, intruder: int, outside: int, mode: str = "strict", address: str = "0.0.0.0") -> str:
    """One of everything; what runs in pods listens at this address."""

    def one(name: str, *words: str) -> str:
        return peer(name, "--address", address, *words)

    return f"""
mesh: traffic
mode: {mode}
deny:
  - {{name: dev-never-in-prod, from: ["dev/*"], to: ["prod/*"]}}
services:
  web:
    run: {one("web")}
    port: 8080
    expose: {web}
    allow: [{{methods: [GET, POST]}}]
    calls: [orders, raw, outside, named, prod/vault]
  other:
    run: {one("other")}
    port: 8080
    expose: {other}
    allow: [{{methods: [GET, POST]}}]
  intruder:
    namespace: dev
    run: {one("intruder")}
    port: 8080
    expose: {intruder}
    allow: [{{methods: [GET, POST]}}]
  orders:
    port: 9000
    versions:
      v1: {{run: {one("orders", "--port", "9000", "--version", "v1")}, weight: 99}}
      v2: {{run: {one("orders", "--port", "9000", "--version", "v2")}, weight: 1}}
    allow:
      - {{from: [web], methods: [GET], paths: ["/orders/*"]}}
  quiet:
    run: {one("quiet")}
    port: 8080
    allow: [{{from: ["*"]}}]
  vault:
    namespace: prod
    run: {one("vault")}
    port: 8080
    allow: [{{from: ["*"]}}]
  raw:
    run: {one("raw", "--port", "8081", "--tcp", "7000")}
    port: 7000
    protocol: tcp
    allow: [{{from: [web]}}]
external:
  outside: {{host: 127.0.0.1, port: {outside}, protocol: tcp, allow: [{{from: [web]}}]}}
  named: {{host: localhost, port: {outside}, protocol: tcp, allow: [{{from: [web]}}]}}
"""


@pytest.fixture(scope="module", params=["redirect", "addresses"])
def mesh(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    way: str = request.param
    address = "0.0.0.0" if way == "redirect" else "127.0.0.1"
    outside = Reverser()
    web, other, intruder = free_port(), free_port(), free_port()
    try:
        with running(
            "traffic", manifest(web, other, intruder, outside.port, address=address), "--redirect", way
        ) as one:
            assert {pod.way for pod in one.status().pods} == {way}
            yield Mesh(one, web, other, intruder, outside)
    finally:
        outside.close()


def test_an_allowed_call_reaches_the_service(mesh: Mesh) -> None:
    called = mesh.web.call("http://orders/orders/1")

    assert (called["status"], called["reason"]) == (200, None)
    assert '"path": "/orders/1"' in called["body"]


def test_one_percent_goes_to_v2(mesh: Mesh) -> None:
    assert is_kept(lambda: answered_by_v2(mesh), 20_000, 0.01)


def answered_by_v2(mesh: Mesh) -> int:
    """Of 20 000 requests."""
    report = mesh.web.load("http://orders/orders/1", count=20_000, connections=16)

    assert report["failed"] == 0
    assert sum(report["versions"].values()) == 20_000
    return int(report["versions"].get("v2", 0))


def test_the_metrics_count_what_the_caller_saw(mesh: Mesh) -> None:
    labels = {"source": "default/web", "destination": "default/orders", "response_class": "2xx"}
    before = total(mesh.running.series(), "tulle_requests_total", **labels)

    report = mesh.web.load("http://orders/orders/1", count=500, connections=4)

    assert report["statuses"] == {"200": 500}
    assert total(mesh.running.series(), "tulle_requests_total", **labels) - before == 500


def test_who_is_not_named_is_denied(mesh: Mesh) -> None:
    called = mesh.other.call("http://orders/orders/1")

    assert (called["status"], called["reason"]) == (403, "denied")


def test_a_path_that_is_not_named_is_denied(mesh: Mesh) -> None:
    called = mesh.web.call("http://orders/admin")

    assert (called["status"], called["reason"]) == (403, "denied")


def test_a_mesh_wide_denial_comes_before_any_allow(mesh: Mesh) -> None:
    assert mesh.web.call("http://vault.prod/")["status"] == 200

    called = mesh.intruder.call("http://vault.prod/")

    assert (called["status"], called["reason"]) == (403, "denied")
    named = {s.labels["policy"] for s in mesh.running.series() if s.name == "tulle_denied_total"
             and s.labels["source"] == "dev/intruder" and s.value}  # fmt: skip
    assert any("dev-never-in-prod" in policy for policy in named), named


def test_calls_binds_the_caller_whatever_the_callee_allows(mesh: Mesh) -> None:
    assert mesh.other.call("http://quiet/")["status"] == 200

    called = mesh.web.call("http://quiet/")

    assert (called["status"], called["reason"]) == (403, "calls-denied")


def test_a_stream_passes_with_each_half_shut_on_its_own(mesh: Mesh) -> None:
    assert mesh.web.exchange("raw", 7000, "a stream") == {"got": "maerts a"}


def test_a_denied_stream_is_reset(mesh: Mesh) -> None:
    assert mesh.other.exchange("raw", 7000, "a stream") == {"error": "ConnectionResetError"}


def test_the_outside_is_open_to_whom_it_is_allowed(mesh: Mesh) -> None:
    assert mesh.web.exchange("outside", mesh.outside.port, "hello") == {"got": "olleh"}


def test_what_is_outside_may_be_named_as_dns_does(mesh: Mesh) -> None:
    assert mesh.web.exchange("named", mesh.outside.port, "hello") == {"got": "olleh"}


def test_the_outside_is_closed_to_all_others(mesh: Mesh) -> None:
    before = mesh.outside.accepted

    assert mesh.other.exchange("outside", mesh.outside.port, "hello") == {"error": "ConnectionResetError"}

    assert mesh.outside.accepted == before


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\nHost: {outside}\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:15020\r\n",
        "GET / HTTP/1.1\r\nHost: orders\r\n",
        "GET / HTTP/1.1\r\nHost: vault.prod.svc.cluster.local\r\n",
        "GET http://{outside}/ HTTP/1.1\r\nHost: {outside}\r\n",
        "GET http://127.0.0.1:15020/metrics HTTP/1.1\r\nHost: 127.0.0.1:15020\r\n",
        "GET http://orders/orders/1 HTTP/1.1\r\nHost: orders\r\n",
        "GET http://quiet@{outside}/ HTTP/1.1\r\nHost: quiet@{outside}\r\n",
        "GET //{outside}/ HTTP/1.1\r\nHost: quiet\r\nX-Forwarded-Host: {outside}\r\nForwarded: host={outside}\r\n",
        "CONNECT {outside} HTTP/1.1\r\nHost: {outside}\r\n",
        "GET / HTTP/1.1\r\nHost: quiet\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n",
    ],
)
def test_no_words_of_a_caller_lead_elsewhere_than_what_it_dialled(mesh: Mesh, head: str) -> None:
    """`other` may call `quiet`, and nothing else: not by its Host, not by its target, not through the proxy."""
    before = mesh.outside.accepted
    text = head.format(outside=f"127.0.0.1:{mesh.outside.port}") + "Connection: close\r\n\r\n"

    answer = mesh.other.exchange("quiet", 80, text, shut=False).get("got", "")

    status, _, body = answer.partition("\r\n\r\n")
    assert mesh.outside.accepted == before
    assert "tulle_" not in body
    if status.startswith("HTTP/1.1 200"):
        assert '"name": "quiet"' in body
    else:
        assert status.startswith(("HTTP/1.1 4", "HTTP/1.1 501")), answer
        assert "x-tulle-reason: " in status


def test_what_is_not_declared_has_no_name(mesh: Mesh) -> None:
    assert mesh.web.ask("/resolve?name=example.com") == {"error": "gaierror"}


def test_shadow_lets_pass_and_counts_what_strict_would_refuse() -> None:
    web, other, intruder = free_port(), free_port(), free_port()
    outside = Reverser()
    try:
        with running("traffic", manifest(web, other, intruder, outside.port, mode="shadow")) as one:
            called = Door(intruder).call("http://vault.prod/")

            assert (called["status"], called["reason"]) == (200, None)
            passed = {"source": "dev/intruder", "destination": "prod/vault"}
            assert total(one.series(), "tulle_shadow_denied_total", **passed) == 1
            assert total(one.series(), "tulle_denied_total") == 0
    finally:
        outside.close()
