"""The dashboard and the alerts, run against a real Prometheus after traffic of every kind: no query is empty, no metric invented."""

import json
import math
import os
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from grpc import RpcError  # type: ignore[import-untyped]
from websockets.sync.client import connect

from tests.support.grpc_ends import DEADLINE, Calls
from tests.support.node_alone import node_alone
from tests.support.processes import eventually
from tests.support.programs import needs
from tests.support.prometheus import Prometheus, prometheus
from tests.support.proxy_harness import (
    Backends,
    Client,
    Proxy,
    dial,
    echo,
    host,
    one_service,
    only,
    read_all,
    until,
)
from tests.support.ws_ends import websocket_server
from tools.ports import free_port
from tulle.agent.metrics import AGENT_METRICS
from tulle.dashboards import ALERTS, DASHBOARD
from tulle.proxy.metrics import METRICS
from tulle.wire.plan import PodState, PodStatus
from tulle.wire.snapshot import AttachedEndpoint, Limits, Mode, Protocol

pytestmark = [needs("prometheus", "promtool")]

KNOWN = {one.name for one in (*METRICS, *AGENT_METRICS)}
BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
RULE_TESTS = Path(__file__).parents[1] / "fixtures/alerts.test.yaml"
SETTLE_SECONDS = 30


def names(expression: str) -> set[str]:
    """The metrics that an expression asks for, as they are declared."""
    found = set(re.findall(r"\b((?:tulle|process)_\w+)", expression))
    return {re.sub("_(bucket|sum|count)$", "", name) for name in found}


def filled_in(expression: str) -> str:
    """As Grafana asks, with everything chosen."""
    return expression.replace("$instance", ".*").replace("$service", ".*").replace("$window", "5m")


def drive(proxy: Proxy, door: int, tcp: int, last: int) -> int:
    """Everything that the dashboard shows of traffic, once; returns the generation in force, which was `last`."""
    doors = {door: Protocol.DETECT, tcp: Protocol.TCP}
    backends = Backends()
    live, dead = host(backends.serve(echo)), host(free_port())
    policies = (only("GET"),)

    proxy.put(
        one_service(doors, (live,), generation=last + 1, policies=policies, limits=Limits(connections_per_caller=1))
    )
    with Client(door) as client:
        assert client.get()[0] == 200
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        assert client.read()[0] == 403
        with dial(door) as refused:
            assert read_all(refused) == b""
    until(lambda: proxy.get("/status")["connections"] == 0, "they are gone")
    with Calls(door) as calls, pytest.raises(RpcError):
        calls.echo(b"denied", timeout=DEADLINE)

    retried = proxy.metrics().sum("tulle_retries_total", cause="connect")
    proxy.put(one_service(doors, (dead, live), generation=last + 2, mode=Mode.SHADOW, policies=policies))
    with Client(door) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        assert client.read()[0] == 200

        def asked_until_retried() -> bool:
            assert client.get()[0] == 200
            return proxy.metrics().sum("tulle_retries_total", cause="connect") > retried

        until(asked_until_retried, "an endpoint that is not there is tried")

    proxy.put(one_service(doors, (live,), generation=last + 3))
    with dial(tcp) as opaque:
        opaque.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert opaque.recv(65536)
    closed = proxy.metrics().sum("tulle_websocket_closes_total")
    with websocket_server() as port:
        proxy.put(one_service(doors, (host(port),), generation=last + 4))
        with connect(f"ws://127.0.0.1:{door}/"):
            pass
        until(lambda: proxy.metrics().sum("tulle_websocket_closes_total") > closed, "the close is counted")

    proxy.put(one_service(doors, (dead,), generation=last + 5))
    with Client(door) as client:
        assert client.get()[0] == 503

    squatter = backends.serve(echo)
    proxy.tell("attached", "default/store", os.getuid() + 1)
    proxy.put(one_service(doors, (AttachedEndpoint(workload="default/store", port=squatter),), generation=last + 6))
    with Client(door) as client:
        assert client.get()[0] == 503
    assert all("is held by another" in line for line in proxy.complaints().splitlines())
    proxy.log.truncate(0)
    backends.close()
    return last + 6


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes one proxy, while an agent pushes to it what another proxy and itself count."""
    with Proxy() as proxy, node_alone(free_port()) as node:
        proxy.hand_over("synced", "")
        ways = proxy.door(), proxy.door()
        last = drive(proxy, *ways, 0)
        with prometheus(tmp_path_factory.mktemp("filled"), scrapes={"tulle": proxy.metrics_port}) as one:
            node.pods = [PodStatus("default/web", PodState.READY, 1, 2, 0.0)]
            node.write(f"""---
apiVersion: tulle.dev/v1
kind: Telemetry
metadata: {{name: edge}}
spec: {{prometheus: {{push: {{url: "{one.write_url}", interval: 1}}}}}}
""")
            node.start()
            eventually(lambda: one.query("tulle_websocket_closes_total"), SETTLE_SECONDS, "the first scrape")
            drive(proxy, *ways, last)
            yield one


@pytest.mark.parametrize(("title", "expression"), QUERIES)
def test_no_query_of_the_dashboard_is_empty(title: str, expression: str, filled: Prometheus) -> None:
    def found() -> list[float]:
        values = (float(one["value"][1]) for one in filled.query(filled_in(expression)))
        return [value for value in values if math.isfinite(value)]

    assert title
    assert eventually(found, SETTLE_SECONDS, f"a value of {expression}", every=0.2)


def test_what_the_dashboard_lets_choose_is_there(filled: Prometheus) -> None:
    looked_up = [one["definition"] for one in BOARD["templating"]["list"] if one["type"] == "query"]
    assert looked_up
    for definition in looked_up:
        match = re.fullmatch(r"label_values\((\w+), (\w+)\)", definition)
        assert match
        assert match[1] in KNOWN
        assert filled.ask(f"/api/v1/label/{match[2]}/values", **{"match[]": match[1]})


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    assert BOARD["schemaVersion"] >= 36
    assert BOARD["templating"]["list"][0]["type"] == "datasource"
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["type"] in {"timeseries", "stat", "heatmap", "state-timeline"}
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
    covered: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in BOARD["panels"]):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & covered
        assert place["x"] + place["w"] <= 24
        covered |= cells


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_asks_for_what_there_is(rule: dict[str, Any], filled: Prometheus) -> None:
    filled.query(rule["expr"])

    for name in names(rule["expr"]):
        assert name in KNOWN
        suffix = "_bucket" if f"{name}_bucket" in rule["expr"] else ""
        has_data = partial(filled.query, f"count({name}{suffix})")
        assert eventually(has_data, SETTLE_SECONDS, name)
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description"}


def test_no_metric_of_the_dashboard_is_invented() -> None:
    asked = set().union(*(names(expression) for _, expression in QUERIES))

    assert asked <= KNOWN


def test_the_alerts_pass_promtool() -> None:
    checked = subprocess.run(["promtool", "check", "rules", ALERTS], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    tested = {
        one["alertname"] for test in yaml.safe_load(RULE_TESTS.read_text())["tests"] for one in test["alert_rule_test"]
    }

    checked = subprocess.run(["promtool", "test", "rules", RULE_TESTS], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert tested == {rule["alert"] for rule in RULES}
