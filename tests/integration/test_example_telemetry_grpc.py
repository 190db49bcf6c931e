"""The gRPC example as it stands: streams last, rules go by method, and what happens is told in gRPC's words."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.processes import eventually
from tests.support.running import Running, running_example
from tools.exposition import total

pytestmark = pytest.mark.user
COLLECTOR = "default/collector"


@pytest.fixture(scope="module")
def mesh() -> Iterator[Running]:
    with running_example("telemetry-grpc", {}, own_python=True) as one:
        eventually(lambda: "°C" in one.log("default/panel"), 30, "the panel shows a reading")
        yield one


def test_readings_stream_and_are_asked_for(mesh: Running) -> None:
    said = mesh.log("default/sensor")
    assert "reading 1 is there" in said
    eventually(lambda: len(mesh.log("default/sensor")) > len(said), 10, "the stream goes on")
    assert "the stream ended" not in said
    eventually(
        lambda: total(mesh.series(), "tulle_grpc_responses_total", grpc_status="OK") > 1, 10, "calls are counted"
    )
    labels = {"source": "default/panel", "destination": COLLECTOR, "protocol": "grpc", "response_class": "2xx"}
    assert total(mesh.series(), "tulle_requests_total", **labels) > 0
    assert total(mesh.series(), "tulle_connections_open", source="default/sensor", protocol="http2") == 1


def test_a_rule_goes_by_method(mesh: Running) -> None:
    assert "to report is not for a panel: PERMISSION_DENIED: tulle: denied: " in mesh.log("default/panel")
    denied = {"source": "default/panel", "destination": COLLECTOR, "grpc_status": "PERMISSION_DENIED"}
    assert total(mesh.series(), "tulle_grpc_responses_total", **denied) == 1


@pytest.mark.parametrize(
    ("caller", "method", "verdict"),
    [
        ("sensor", "Report", "allowed"),
        ("sensor", "Latest", "denied"),
        ("panel", "Latest", "allowed"),
        ("panel", "Report", "denied"),
    ],
)
def test_why_explains_a_call_by_its_path(mesh: Running, caller: str, method: str, verdict: str) -> None:
    path = f"/telemetry.Collector/{method}"
    said = mesh.tulle("why", caller, "collector", "--path", path, check=False)
    assert said.stdout.startswith(verdict), said.stdout
    assert said.returncode == (verdict == "denied")
    assert f"POST {path}" in said.stdout


def test_tap_shows_a_call_with_its_status(mesh: Running) -> None:
    lines = mesh.tulle("tap", "--mesh", "telemetry-grpc", "--count", "1")
    assert re.search(r"default/panel → default/collector .*grpc .*/telemetry\.Collector/Latest  OK", lines.stdout), (
        lines.stdout
    )
    found = json.loads(mesh.tulle("tap", "--mesh", "telemetry-grpc", "--count", "1", "--json").stdout)
    assert (found["protocol"], found["grpc_status"]) == ("grpc", "OK")


def test_top_shows_calls_as_requests(mesh: Running) -> None:
    rates = json.loads(mesh.tulle("top", "--mesh", "telemetry-grpc", "--once", "--interval", "3", "--json").stdout)
    (panel,) = [one for one in rates if one["source"] == "default/panel"]
    assert panel["rps"] > 0
    assert panel["success"] == 1


def test_a_killed_agent_ends_no_stream_between_pods(mesh: Running) -> None:
    said = mesh.log("default/sensor")
    agent = mesh.processes.pid("agent")
    mesh.processes.kill("agent")
    mesh.processes.restarted("agent", agent)
    eventually(lambda: len(mesh.log("default/sensor")) > len(said) + 50, 15, "the stream goes on")
    assert "the stream ended" not in mesh.log("default/sensor")


def test_streams_between_pods_begin_anew_when_the_proxy_dies(mesh: Running) -> None:
    proxy = mesh.processes.pid("proxy")
    shown = mesh.log("default/panel").count("°C")
    mesh.processes.kill("proxy")
    mesh.processes.restarted("proxy", proxy)
    eventually(lambda: "the stream ended: UNAVAILABLE" in mesh.log("default/sensor"), 20, "the sensor noticed")

    def begins_anew() -> bool:
        return "reading 3 is there" in mesh.log("default/sensor").rpartition("the stream ended")[2]

    eventually(begins_anew, 30, "the sensor reports again")
    eventually(lambda: mesh.log("default/panel").count("°C") > shown + 3, 20, "the panel is answered again")
    denied = {"source": "default/panel", "destination": COLLECTOR, "grpc_status": "PERMISSION_DENIED"}
    assert total(mesh.series(), "tulle_grpc_responses_total", **denied) == 0, "the new proxy counts from nothing"
