"""Programs that know nothing of the mesh, told of the forward proxy as such programs are told: by their environment or an option."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from tests.support.forwarding import NOBODY, WEB, Town
from tests.support.grpc_ends import GrpcService
from tests.support.programs import needs
from tests.support.proxy_harness import DEADLINE
from tests.support.ws_ends import websocket_server

URLLIB = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:
    print(answer.status, answer.read().split(b" ")[1].decode())
"""
HTTP_CLIENT = """
import http.client, sys
proxy, host, port, path = sys.argv[1:]
connection = http.client.HTTPConnection(*proxy.split(":"), timeout=10)
connection.set_tunnel(host, int(port))
connection.request("GET", path)
answer = connection.getresponse()
print(answer.status, (answer.read().split(b" ") + [b""])[1].decode())
"""
GRPC = """
import os, sys
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
import grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    try:
        print("OK", channel.unary_unary("/shop.Orders/Echo")(b"hello", timeout=10).decode())
    except grpc.RpcError as error:
        print(error.code().name, dict(error.initial_metadata() or error.trailing_metadata() or ()).get("x-tulle-reason"))
"""


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with Town() as made:
        yield made


@pytest.fixture(autouse=True)
def web(town: Town) -> None:
    town.become(WEB)


def environment(town: Town) -> dict[str, str]:
    """As a unit file would set it."""
    proxy = f"http://127.0.0.1:{town.port}"
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return kept | {"http_proxy": proxy, "grpc_proxy": proxy, "no_proxy": "localhost,127.0.0.1"}


def said(town: Town, *words: str) -> str:
    """What a program with that environment prints."""
    done = subprocess.run(
        words,
        env=environment(town),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip()


def status_by_curl(town: Town, *words: str) -> str:
    return said(town, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{http_connect} %{num_connects}", *words)


@needs("curl")
def test_curl_by_its_environment(town: Town) -> None:
    assert status_by_curl(town, "http://orders/orders/1") == "200 000 1"
    assert status_by_curl(town, "http://orders/secret") == "403 000 1"
    assert status_by_curl(town, "http://orders.default.svc.cluster.local:81/orders/1") == "200 000 1"
    assert status_by_curl(town, "http://nowhere/") == "404 000 1"


@needs("curl")
def test_curl_by_a_tunnel(town: Town) -> None:
    assert status_by_curl(town, "-p", "http://orders/orders/1") == "200 200 1"
    assert status_by_curl(town, "-p", "http://orders/secret") == "403 200 1"
    assert status_by_curl(town, "-p", "http://nowhere/") == "000 404 1"
    assert status_by_curl(town, "-p", "--http2-prior-knowledge", "http://orders:81/orders/1") == "200 200 1"
    town.become(NOBODY)
    assert status_by_curl(town, "-p", "http://orders/orders/1") == "000 403 1"


@needs("curl")
def test_curl_uploads_and_keeps_its_connection_for_different_services(town: Town) -> None:
    words = ("-T", os.devnull, "-X", "POST", "http://orders/orders/", "--next", "-s", "http://open/", "-o", os.devnull)
    assert said(town, "curl", "-sS", "-o", os.devnull, *words, "-w", "%{http_code} %{num_connects}") == "200 0"


@needs("nghttp")
def test_nghttp_by_prior_knowledge(town: Town) -> None:
    answer = said(town, "nghttp", "-H:authority: orders:81", f"http://127.0.0.1:{town.port}/orders/1")
    assert answer.lower().splitlines()[:2] == ["get /orders/1 http/1.1", "host: orders:81"]


def test_urllib_by_its_environment(town: Town) -> None:
    assert said(town, sys.executable, "-c", URLLIB, "http://orders/orders/1") == "200 /orders/1"
    assert "HTTP Error 403" in said(town, sys.executable, "-c", URLLIB, "http://orders/secret")


def test_http_client_by_a_tunnel(town: Town) -> None:
    proxy = f"127.0.0.1:{town.port}"
    assert said(town, sys.executable, "-c", HTTP_CLIENT, proxy, "orders", "80", "/orders/1") == "200 /orders/1"
    assert said(town, sys.executable, "-c", HTTP_CLIENT, proxy, "orders", "80", "/secret").startswith("403")
    assert "404" in said(town, sys.executable, "-c", HTTP_CLIENT, proxy, "nowhere", "80", "/")


def test_grpc_by_its_environment() -> None:
    with GrpcService() as service, Town() as town:
        town.endpoint = service.port
        town.put()
        town.become(WEB)
        assert said(town, sys.executable, "-c", GRPC, "open:81") == "OK hello"
        assert said(town, sys.executable, "-c", GRPC, "orders:80") == "PERMISSION_DENIED denied"
        metrics = town.proxy.metrics()
        assert metrics.sum("tulle_grpc_responses_total", source=WEB, destination="default/open", grpc_status="OK") == 1


def test_websocket_by_a_tunnel() -> None:
    with websocket_server() as port, Town() as town:
        town.endpoint = port
        town.put()
        town.become(WEB)
        proxy = f"http://127.0.0.1:{town.port}"
        with connect("ws://orders:81/orders/chat", proxy=proxy, open_timeout=DEADLINE) as talk:
            talk.send(json.dumps("hello"))
            assert talk.recv(DEADLINE) == '"hello"'
        assert town.proxy.metrics().sum("tulle_websocket_closes_total", source=WEB, code="1000") == 1
