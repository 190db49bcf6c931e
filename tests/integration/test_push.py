"""Metrics arrive in a real Prometheus, and count what was sent: through its outage, through the agent's death, over TLS."""

import asyncio
import os
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.manifests import FACTS, loaded
from tests.support.node_alone import NodeAlone, node_alone
from tests.support.processes import eventually
from tests.support.programs import needs
from tests.support.prometheus import Prometheus, prometheus
from tests.support.proxy_harness import Client, backend_process
from tulle.compiler import Compiled, compile_mesh
from tulle.store.spool import Spool
from tulle.telemetry.delivery import Outcome, Refused, Taken
from tulle.telemetry.ledger import Point
from tulle.telemetry.receiver import Receiver
from tulle.telemetry.remote_write import HEADERS, bodies
from tulle.wire.sinks import Sinks
from tulle.wire.status import PushLine

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


def pushing(node: NodeAlone) -> PushLine:
    line = node.status().push
    assert line is not None
    return line


def samples_wait(node: NodeAlone) -> PushLine:
    """Returns once there wait samples of all that was counted before this call."""
    for _ in range(2):  # the first may have been on their way
        before = pushing(node).waiting_samples
        eventually(lambda before=before: pushing(node).waiting_samples > before, 20, "samples wait")  # type: ignore[misc]
    return pushing(node)


def nobody_answers(node: NodeAlone) -> bool:
    """Whether that is what the last attempt came to."""
    return "Connection refused" in (why := pushing(node).why) or "Connect call failed" in why


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
    assert node.resident_bytes() <= 30 << 20
    assert (labels["mesh"], labels["job"]) == ("edge", "tulle")
    assert labels["instance"] == labels["node"]
    assert receiver.value('tulle_request_duration_seconds_bucket{le="+Inf"}') == 42
    assert receiver.value("tulle_proxy_up") == 1
    eventually(lambda: not pushing(node).waiting_samples, 20, "nothing waits")
    push = pushing(node)
    assert (push.why, push.dropped) == ("", {})
    assert receiver.value("tulle_push_samples_total") is not None


def test_an_outage_of_the_receiver_costs_no_count(node: NodeAlone, receiver: Prometheus) -> None:
    node.write(PUSH.format(url=receiver.write_url, more=""))
    node.start()
    call(node, 5)
    counted(receiver, 5)

    receiver.stop()
    call(node, 10)
    samples_wait(node)
    time_within = time.time()
    call(node, 3)
    samples_wait(node)
    eventually(lambda: nobody_answers(node), 20, "it is said that nobody answers")
    assert 0 < pushing(node).failing_since <= time.time()
    receiver.start()

    counted(receiver, 18)
    eventually(lambda: not pushing(node).waiting_samples, 20, "nothing waits")
    healed = pushing(node)
    assert (healed.why, healed.failing_since, healed.dropped) == ("", 0.0, {})
    within = float(receiver.ask("/api/v1/query", query=COUNT, time=f"{time_within:.3f}")["result"][0]["value"][1])
    assert within == 15, "the time without a receiver is filled in"


def test_a_killed_agent_costs_no_count_and_what_it_kept_is_sent_by_the_next(
    node: NodeAlone, receiver: Prometheus
) -> None:
    node.write(PUSH.format(url=receiver.write_url, more=""))
    node.start()
    call(node, 5)
    counted(receiver, 5)
    receiver.stop()
    call(node, 10)
    kept = samples_wait(node)
    time_within = time.time()

    node.kill()
    call(node, 7)
    node.start()
    assert pushing(node).waiting_samples >= kept.waiting_samples
    receiver.start()

    counted(receiver, 22)
    within = float(receiver.ask("/api/v1/query", query=COUNT, time=f"{time_within:.3f}")["result"][0]["value"][1])
    assert within == 15, "what the killed one had kept arrived, with its time"
    eventually(lambda: not pushing(node).waiting_samples, 20, "nothing waits")
    assert pushing(node).dropped == {}


def test_a_killed_agent_leaves_no_gap_in_what_is_counted_while_the_receiver_is_there(
    node: NodeAlone, receiver: Prometheus
) -> None:
    node.write(PUSH.format(url=receiver.write_url, more=""))
    node.start()
    sent = 0
    for _ in range(3):
        call(node, 4)
        node.kill()
        call(node, 4)
        node.start()
        sent += 8
        counted(receiver, sent)


PASSWORD = "correct horse"
WEB = """
tls_server_config:
  cert_file: receiver.pem
  key_file: receiver.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
basic_auth_users:
  edge: $2b$04$VwCeq9UVLYcbpGQPQtldZeYTI5H5uSBovld/rfcUCxK9sp1BNQPkG
"""


def sinks_of(text: str) -> Sinks:
    made = compile_mesh(loaded(text).resources, FACTS)
    assert isinstance(made, Compiled)
    return made.sinks


def make_certificates(home: Path) -> None:
    """An authority, and what it signed for the receiver and the node."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=home, check=True, capture_output=True)

    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", "-days", "2")
    for name in ("receiver", "node"):
        (home / "ext").write_text(f"subjectAltName=DNS:{name}.example\n")
        openssl("req", *ec, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *sign)


def test_tls_both_ways_and_a_password_that_is_replaced_in_its_file(node: NodeAlone, tmp_path: Path) -> None:
    home = tmp_path / "prometheus"
    home.mkdir()
    make_certificates(home)
    (home / "web.yml").write_text(WEB)
    context = ssl.create_default_context(cafile=str(home / "ca.pem"))
    context.check_hostname = False
    context.load_cert_chain(home / "node.pem", home / "node.key")
    login = {"authorization": f"Basic {b64encode(f'edge:{PASSWORD}'.encode()).decode()}"}
    files = {name: home / file for name, file in (("ca", "ca.pem"), ("cert", "node.pem"), ("key", "node.key"))}
    password = tmp_path / "password"
    more = (
        f"basicAuth: {{username: edge, passwordFile: {password}}}\n      tlsConfig: {{serverName: receiver.example, "
        + ", ".join(f"{name}File: {path}" for name, path in files.items())
        + "}"
    )
    with prometheus(home, f"--web.config.file={home / 'web.yml'}", context=context, headers=login) as receiver:
        node.write(PUSH.format(url=receiver.write_url, more=more))
        node.start()
        call(node, 6)
        eventually(lambda: str(password) in pushing(node).why, 20, "the missing file is said")
        password.write_text("wrong\n")
        eventually(lambda: "401" in pushing(node).why, 20, "the refusal is said")
        eventually(lambda: pushing(node).dropped.get("refused"), 20, "what was refused is counted")

        password.write_text(PASSWORD + "\n")

        counted(receiver, 6)
        eventually(lambda: not pushing(node).why, 20, "nothing more is said")
        assert PASSWORD not in node.log()
        files["ca"].rename(home / "away.pem")
        eventually(lambda: "ca.pem: No such file" in pushing(node).why, 20, "the missing authority is said")
        (home / "away.pem").rename(files["ca"])
        call(node, 5)
        counted(receiver, 11)


def test_what_is_too_old_for_the_receiver_is_dropped_counted_and_said(node: NodeAlone, receiver: Prometheus) -> None:
    node.write(PUSH.format(url=receiver.write_url, more="spool: {maxAge: 60}"))
    receiver.stop()
    spool = Spool(node.state / "spool.db", 1 << 20)
    old = bodies([Point("tulle_requests_total", ((int((time.time() - 61) * 1000), 1.0),))], {})
    for one in old:
        spool.add(one.at_ms, one.samples, one.octets)
    spool.close()
    receiver.start()

    node.start()
    call(node, 2)

    counted(receiver, 2)
    assert pushing(node).dropped == {"too-old": 1}
    assert receiver.value('tulle_push_samples_dropped_total{reason="too-old"}') == 1
    assert "1 samples dropped: too-old" in node.log()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: mounts a file system")
def test_a_full_disk_stops_neither_the_agent_nor_the_counting(node: NodeAlone, receiver: Prometheus) -> None:
    node.write(PUSH.format(url=receiver.write_url, more=""))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=768k,mode=700", "tmpfs", node.state], check=True)
    try:
        node.start()
        call(node, 3)
        counted(receiver, 3)
        receiver.stop()

        def dropped() -> int:
            """Whatever is given up for the spool, another program takes."""
            with suppress(OSError), (node.state / "filler").open("ab", buffering=0) as filler:
                while True:
                    filler.write(bytes(4096))
            return pushing(node).dropped.get("spool-full", 0)

        call(node, 9)
        eventually(dropped, 30, "the full disk is said", every=0.2)

        (node.state / "filler").unlink()
        receiver.start()

        counted(receiver, 12)
        eventually(lambda: not (pushing(node).why or pushing(node).notes), 20, "nothing more is said")
    finally:
        node.stop()
        subprocess.run(["umount", "-l", node.state], check=True)


async def test_prometheus_takes_what_the_spool_keeps_by_default_and_nothing_older_than_an_hour(
    receiver: Prometheus,
) -> None:
    sink = sinks_of(f"mesh: edge\ntelemetry: {{prometheus: {{push: '{receiver.write_url}'}}}}\n").push
    assert sink is not None
    way, now = Receiver(sink, "test", time.time), time.time()

    async def sent(series: str, age: float) -> Outcome:
        (body,) = bodies([Point(series, ((int((now - age) * 1000), 1.0),))], {})
        return await way.send(body.octets, HEADERS)

    assert await sent("newest", 0) == Taken()
    assert await sent("kept", sink.spool_seconds) == Taken()
    refused = await sent("older", 3660)
    way.close()
    await asyncio.sleep(0)

    assert isinstance(refused, Refused)
    assert "out of bounds" in refused.why


def test_series_that_end_are_marked_stale_at_once(node: NodeAlone, receiver: Prometheus) -> None:
    node.write(PUSH.format(url=receiver.write_url, more=""))
    node.start()
    call(node, 2)
    counted(receiver, 2)

    node.manifest.write_text(node.manifest.read_text().replace("name: orders", "name: renamed"))

    eventually(lambda: receiver.value(COUNT) is None, 20, "the series have ended", every=0.1)
    assert receiver.value("tulle_proxy_up") == 1


def test_other_words_about_the_receiver_take_effect_without_a_restart(
    node: NodeAlone, receiver: Prometheus, tmp_path: Path
) -> None:
    node.write("")
    node.start()
    assert node.status().push is None
    assert "cramjam" not in node.mapped(), "what is not asked for costs no import"
    call(node, 4)
    node.write(PUSH.format(url=receiver.write_url, more=""))
    counted(receiver, 4)

    with prometheus(tmp_path / "other") as other:
        node.write(PUSH.format(url=other.write_url, more=""))
        counted(other, 4)

    node.write("")
    eventually(lambda: node.status().push is None, 20, "nothing is pushed")
