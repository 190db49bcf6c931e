"""What the agent says of the node and of itself."""

import subprocess
from pathlib import Path

import pytest

from tests.support.programs import needs
from tulle.agent.candidate import Ground
from tulle.agent.metrics import AGENT_METRICS, OUTCOMES, REASONS, PushCounts, exposition
from tulle.agent.node import Node
from tulle.store.revisions import Revisions
from tulle.telemetry import delivery
from tulle.telemetry.exposition import samples
from tulle.wire.plan import PodState, PodStatus, Report


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(Ground("shop", (), "/", {}), Revisions(tmp_path / "tulle.db"), lambda: 0.0)
    pods = [PodStatus("default/web", PodState.READY, 1, 3, 0.0), PodStatus("default/db", PodState.BACKOFF, 0, 7, 0.0)]
    node.supervisor_says(Report(1, pods, [], ""))
    return node


def test_pods_are_told_by_name(node: Node) -> None:
    found = samples(exposition(node, None, (0, 0), 12.0))

    assert found['tulle_pod_ready{pod="default/web"}'] == 1
    assert found['tulle_pod_ready{pod="default/db"}'] == 0
    assert found['tulle_pod_restarts_total{pod="default/db"}'] == 7
    assert found["tulle_proxy_up"] == 0
    assert found["tulle_agent_start_time_seconds"] == 12.0
    assert not [name for name in found if name.startswith("tulle_push")]


def test_every_reason_and_outcome_is_shown_before_it_ever_was(node: Node) -> None:
    found = samples(exposition(node, PushCounts(), (5, 99), 0.0))

    assert {str(one) for one in delivery.Drop} == set(REASONS)
    assert [found[f'tulle_push_samples_dropped_total{{reason="{one}"}}'] for one in REASONS] == [0, 0, 0]
    assert [found[f'tulle_push_requests_total{{outcome="{one}"}}'] for one in OUTCOMES] == [0, 0, 0]
    assert {one.__name__.lower() for one in (delivery.Taken, delivery.Refused, delivery.Later)} == set(OUTCOMES)
    assert (found["tulle_push_waiting_samples"], found["tulle_push_waiting_bytes"]) == (5, 99)


@needs("promtool")
def test_it_passes_promtool(node: Node) -> None:
    text = exposition(node, PushCounts(), (0, 0), 0.0)

    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_metric_that_is_declared_is_shown(node: Node) -> None:
    text = exposition(node, PushCounts(), (0, 0), 0.0)

    assert [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")] == [
        m.name for m in AGENT_METRICS
    ]
