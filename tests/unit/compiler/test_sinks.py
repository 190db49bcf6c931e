"""Where metrics go, as the agent reads it."""

import pytest

from tests.support.manifests import FACTS, loaded, refused
from tulle.compiler import Compiled, compile_mesh
from tulle.wire.sinks import PushSink, Sinks, Tls, decode_sinks, encode_sinks

WHOLE = """
mesh: shop
telemetry:
  prometheus:
    push:
      url: https://metrics.example/write
      interval: 10
      remote_timeout: 5
      labels: {site: hall}
      headers: {X-Scope-OrgID: plant}
      basic_auth: {username: edge, password_file: secrets/password}
      tls_config: {ca_file: ca.pem, cert_file: /etc/node.pem, key_file: node.key, server_name: m.example}
      spool: {max_bytes: 1000000, max_age: 600}
"""


def sinks(text: str) -> Sinks:
    made = compile_mesh(loaded(text).resources, FACTS)
    assert isinstance(made, Compiled)
    return made.sinks


def test_a_url_alone_is_a_push_with_what_is_usual() -> None:
    push = sinks("mesh: shop\ntelemetry: {prometheus: {push: 'http://metrics.example:9090/api/v1/write'}}\n").push

    assert push == PushSink(
        url="http://metrics.example:9090/api/v1/write",
        interval=30.0,
        timeout=30.0,
        spool_bytes=16 << 20,
        spool_seconds=3300.0,
    )


def test_everything_that_is_said_is_there_with_paths_from_the_meshs_directory() -> None:
    assert sinks(WHOLE).push == PushSink(
        url="https://metrics.example/write",
        interval=10.0,
        timeout=5.0,
        labels={"site": "hall"},
        headers={"X-Scope-OrgID": "plant"},
        username="edge",
        password_file="/m/secrets/password",
        tls=Tls(ca_file="/m/ca.pem", cert_file="/etc/node.pem", key_file="/m/node.key", server_name="m.example"),
        spool_bytes=1_000_000,
        spool_seconds=600.0,
    )


def test_the_document_is_read_as_it_was_written() -> None:
    assert decode_sinks(encode_sinks(sinks(WHOLE))) == sinks(WHOLE)
    assert encode_sinks(sinks("mesh: shop\n")) == b""
    assert decode_sinks(b"") == Sinks()


@pytest.mark.parametrize("text", ["mesh: shop\ntelemetry: {}\n", "mesh: shop\ntelemetry: {prometheus: {}}\n"])
def test_telemetry_that_says_nothing_sends_nothing(text: str) -> None:
    assert sinks(text) == Sinks()


def test_a_mesh_has_one_telemetry() -> None:
    second = "---\napiVersion: tulle.dev/v1\nkind: Telemetry\nmetadata: {name: other}\n"

    (problem,) = refused(WHOLE + second)

    assert problem.code == "duplicate-resource"
    assert problem.hint.startswith("first at mesh.yaml:3")
