"""What must hold when a process of Tulle dies: under load, from outside and from within a pod, on real processes."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.processes import Death, eventually, is_running, kill
from tests.support.running import Door, Running, load_from_outside, peer, running
from tools.load import Failure, Report, Sample
from tools.ports import free_port

KILLS = 10
HEALED_SECONDS = 0.5
STARTS = 3
"""On a box so loaded that a bare interpreter with the proxy's imports takes long, healing may take so many times that."""
pytestmark = [pytest.mark.user, pytest.mark.timeout(180)]


@pytest.fixture
def door() -> int:
    return free_port()


@pytest.fixture
def mesh(door: int) -> Iterator[Running]:
    text = f"""
mesh: faults
services:
  web:
    run: {peer("web")}
    port: 8080
    expose: {door}
    allow: [{{methods: [GET, POST]}}]
  orders:
    run: {peer("orders", "--port", "9000")}
    port: 9000
    allow: [{{from: [web]}}]
  raw:
    run: {peer("raw", "--port", "8081", "--tcp", "7000")}
    port: 7000
    protocol: tcp
    allow: [{{from: [web]}}]
"""
    with running("faults", text) as one:
        yield one


def wait_for_more(report: Report, answers: int) -> None:
    """Returns once so many more requests have been answered."""
    wanted = report.answered + answers
    eventually(lambda: report.answered >= wanted, 15, f"{answers} more answers")


def test_a_killed_agent_disturbs_no_request(mesh: Running, door: int) -> None:
    web = Door(door)
    steady = {"rate": 100, "connections": 8}
    with (
        load_from_outside(web.url + "/", **steady) as kept,
        load_from_outside(web.url + "/", rate=50, connections=16, keep_alive=False) as anew,
    ):
        web.start_load("http://orders/", seconds=150, close="yes", **steady)
        for _ in range(KILLS):
            agent = mesh.processes.pid("agent")
            mesh.processes.kill("agent")
            wait_for_more(kept, 10)
            wait_for_more(anew, 10)
            mesh.processes.restarted("agent", agent, within=30)
    inside = web.stop_load()

    assert (kept.failed, anew.failed, inside["failed"]) == (0, 0, 0), (kept.failures, anew.failures, inside)
    assert min(kept.answered, anew.answered) >= 10 * KILLS
    assert inside["answered"] > KILLS


def test_a_killed_proxy_refuses_no_connection(mesh: Running, door: int, record_property: Callable[..., None]) -> None:
    web = Door(door)
    deaths = []
    starting = []
    with load_from_outside(web.url + "/", rate=50, connections=64, keep_alive=False, keep_samples=True) as outside:
        web.start_load("http://orders/", rate=50, seconds=150, connections=64, close="yes", samples="yes")
        wait_for_more(outside, 75)
        for _ in range(KILLS):
            proxy = mesh.processes.pid("proxy")
            deaths.append(mesh.processes.kill("proxy"))
            mesh.processes.restarted("proxy", proxy)
            starting.append(_seconds_to_start())
            wait_for_more(outside, 75)
    inside = [Sample(*sample) for sample in web.stop_load()["samples"]]

    for name, samples in (("outside", outside.samples), ("pod", inside)):
        failed = [one for one in samples if one.outcome != 200]
        assert not [one for one in failed if one.outcome == Failure.REFUSED]
        assert not [one for one in failed if not any(_was_in_flight(one, death) for death in deaths)], (failed, deaths)
        healed = [_healed_after(samples, death) for death in deaths]
        record_property(f"healed_{name}", [round(seconds, 3) for seconds in healed])
        record_property(f"failed_{name}", len(failed))
        print(f"{name}: {len(samples)} requests, {len(failed)} failed, healed after {sorted(healed)}")  # noqa: T201
        late = [one for one, start in zip(healed, starting, strict=True) if one >= max(HEALED_SECONDS, STARTS * start)]
        assert not late, (healed, starting)


def _seconds_to_start() -> float:
    """What this box takes now to do the least that a new proxy must."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import tulle.proxy.main"], check=True)
    return time.monotonic() - began


def _was_in_flight(sample: Sample, death: Death) -> bool:
    return sample.started <= death.gone and sample.ended >= death.killed


def _healed_after(samples: list[Sample], death: Death) -> float:
    """From the kill to the first answer after it."""
    return min(one.ended for one in samples if one.outcome == 200 and one.ended > death.gone) - death.killed


def test_a_killed_broker_is_replaced_and_no_stream_is_lost(mesh: Running, door: int) -> None:
    web = Door(door)
    assert web.exchange("raw", 7000, "before") == {"got": "erofeb"}
    broker = mesh.processes.pid("broker")

    mesh.processes.kill("broker")

    assert web.exchange("raw", 7000, "after") == {"got": "retfa"}
    assert mesh.processes.restarted("broker", broker)


def test_a_killed_supervisor_leaves_nothing_behind_and_up_serves_again(mesh: Running, door: int) -> None:
    web = Door(door)
    everything = mesh.processes.all()
    assert len(everything) >= 4 + 2 * 3  # supervisor, broker, agent, proxy; an init and a service per pod

    mesh.processes.kill("supervisor")

    eventually(lambda: not any(map(is_running, everything)), 1.0, f"nothing left of {everything}")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", door), timeout=5)
    mesh.up()
    assert web.call("http://orders/")["status"] == 200


def test_a_killed_service_comes_back(mesh: Running, door: int) -> None:
    web = Door(door)
    before = web.ask("/")
    pod = mesh.pod_pid("default/web")

    kill(pod)

    eventually(lambda: mesh.pod_pid("default/web") not in (0, pod), 15, "a new pod of web")
    eventually(lambda: mesh.status().ready, 15, "ready again")
    assert web.ask("/")["name"] == before["name"]
