"""Metrics arrive in a real Prometheus, and count what was sent: through its outage, through the agent's death, over TLS."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node_alone import NodeAlone, node_alone
from tests.support.processes import eventually
from tests.support.programs import needs
from tests.support.prometheus import Prometheus, prometheus
from tests.support.proxy_harness import Client, backend_process

pytestmark = [needs("prometheus")]

COUNT = 'sum(tulle_requests_total{destination="default/orders"})'
PUSH = """---
apiVersion: tulle.dev/v1
kind: Telemetry
metadata: {{name: edge}}
spec:
  prometheus:
    push:
      url: {url}
      interval: 1
      labels: {{site: hall-3}}
      {more}
"""


@pytest.fixture(scope="module")
def backend() -> Iterator[int]:
    with backend_process("orders") as port:
        yield port


@pytest.fixture
def node(backend: int) -> Iterator[NodeAlone]:
    with node_alone(backend) as one:
        yield one


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Prometheus]:
    with prometheus(tmp_path / "prometheus") as one:
        yield one


def call(node: NodeAlone, times: int) -> None:
    with Client(node.door) as client:
        for _ in range(times):
            assert client.get("/")[0] == 200


def counted(receiver: Prometheus, requests: int) -> None:
    eventually(lambda: receiver.value(COUNT) == requests, 30, f"{requests} requests in Prometheus", every=0.1)


def test_what_prometheus_counts_is_what_was_sent(node: NodeAlone, receiver: Prometheus) -> None:
    node.write(PUSH.format(url=receiver.write_url, more=""))
    node.start()

    call(node, 25)
    counted(receiver, 25)
    call(node, 17)
    counted(receiver, 42)

    (series,) = receiver.query('tulle_requests_total{response_class="2xx"}')
    labels = series["metric"]
    assert labels["site"] == "hall-3"
    assert (labels["mesh"], labels["job"]) == ("edge", "tulle")
    assert labels["instance"] == labels["node"]
    assert receiver.value('tulle_request_duration_seconds_bucket{le="+Inf"}') == 42
    assert receiver.value("tulle_proxy_up") == 1
    push = node.status().push
    assert push is not None
    assert (push.why, push.dropped, push.waiting_samples) == ("", {}, 0)
    assert receiver.value("tulle_push_samples_total") is not None
