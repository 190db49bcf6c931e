"""gRPC through a whole mesh while its processes die and its manifest changes."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import grpc  # type: ignore[import-untyped]
import pytest

from tests.support.grpc_ends import DEADLINE, Calls, fails
from tests.support.processes import Death, eventually
from tests.support.running import Running, grpc_service, running
from tools.exposition import total
from tools.ports import free_port

KILLS = 5
CHANNELS = 4
pytestmark = [pytest.mark.user, pytest.mark.timeout(180)]


class Sample(NamedTuple):
    """One call."""

    started: float
    ended: float
    status: str


class Load:
    """Channels that call one after the other, reconnecting as gRPC does."""

    def __init__(self, port: int) -> None:
        self.samples: list[Sample] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(port,)) for _ in range(CHANNELS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> list[Sample]:
        return [one for one in self.samples if one.status != "OK"]

    def goes_on(self, calls: int) -> None:
        """Returns once so many more calls have been answered."""
        wanted = len(self.samples) - len(self.failed) + calls
        eventually(lambda: len(self.samples) - len(self.failed) >= wanted, 15, f"{calls} more calls")

    def _call(self, port: int) -> None:
        with Calls(port) as calls:
            while not self._is_over.is_set():
                started = time.monotonic()
                status = "OK"
                try:
                    assert calls.echo(b"x" * 1000, timeout=DEADLINE, wait_for_ready=True) == b"x" * 1000
                except grpc.RpcError as error:
                    status = error.code().name
                self.samples.append(Sample(started, time.monotonic(), status))


@contextmanager
def load(port: int) -> Iterator[Load]:
    one = Load(port)
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture
def door() -> int:
    return free_port()


def manifest(door: int, allow: str = "{}") -> str:
    return f"""
mesh: calls
services:
  orders:
    run: {grpc_service(50051)}
    port: 50051
    protocol: grpc
    expose: {door}
    allow: [{allow}]
"""


@pytest.fixture
def mesh(door: int) -> Iterator[Running]:
    with running("calls", manifest(door)) as one:
        yield one


UNNOTICED = 2
"""Calls that a channel may begin on its connection after the proxy's death, before it has been told of it."""


def is_in_flight(sample: Sample, death: Death) -> bool:
    return sample.started <= death.gone and sample.ended >= death.killed


def test_a_killed_proxy_costs_only_the_calls_in_flight(mesh: Running, door: int) -> None:
    deaths = []
    with load(door) as calls:
        calls.goes_on(100)
        for _ in range(KILLS):
            proxy = mesh.processes.pid("proxy")
            deaths.append(mesh.processes.kill("proxy"))
            mesh.processes.restarted("proxy", proxy)
            calls.goes_on(100)
    assert {one.status for one in calls.failed} <= {"UNAVAILABLE"}
    late = [one for one in calls.failed if not any(is_in_flight(one, death) for death in deaths)]
    after = Counter(max(death.gone for death in deaths if death.gone < one.started) for one in late)
    assert all(number <= UNNOTICED * CHANNELS for number in after.values()), (late, deaths)


def test_a_killed_agent_and_a_changed_manifest_cost_no_call(mesh: Running, door: int) -> None:
    with load(door) as calls, Calls(door) as other:
        stream = other.drip(b"lasts")
        assert next(stream) == b"lasts"
        for number in range(KILLS):
            agent = mesh.processes.pid("agent")
            mesh.processes.kill("agent")
            calls.goes_on(50)
            mesh.processes.restarted("agent", agent, within=30)
            eventually(mesh.is_ready, 15, "ready again")
            mesh.apply(manifest(door, f"{{methods: [POST, M{number}]}}"))
            calls.goes_on(50)
        stream.cancel()
    assert calls.failed == []


def test_a_rule_holds_from_the_next_call_on(mesh: Running, door: int) -> None:
    """The connection stays; what is asked on it is judged anew."""
    with Calls(door) as calls:
        assert calls.echo(b"before", timeout=DEADLINE) == b"before"
        mesh.apply(manifest(door, "{paths: [/shop.Orders/Name]}"))
        with fails("PERMISSION_DENIED") as failure:
            calls.echo(b"after", timeout=DEADLINE)
        assert failure.details.startswith("tulle: denied: ")
        assert calls.name(b"", timeout=DEADLINE) == b""
    labels = {"source": "anonymous", "destination": "default/orders"}
    assert total(mesh.series(), "tulle_connections_total", protocol="http2", **labels) == 1
    assert total(mesh.series(), "tulle_grpc_responses_total", grpc_status="PERMISSION_DENIED", **labels) == 1
    refused = mesh.tulle("why", failure.trailing["x-request-id"], "--mesh", "calls", check=False).stdout
    assert "/shop.Orders/Echo" in refused
