"""New snapshots under load, bad ones, the memory between two proxies, and the end."""

import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.support.proxy_harness import (
    DEADLINE,
    Backends,
    Client,
    Hold,
    Proxy,
    backend_process,
    dial,
    echo,
    field,
    host,
    one_service,
    only,
    read_all,
    until,
)
from tests.support.tapping import tapping
from tulle.wire.snapshot import Limits, Protocol, encode_snapshot


def wait_for_more(answered: list[int], failed: list[str]) -> None:
    before = sum(answered)
    until(lambda: sum(answered) > before + 20 or bool(failed), "requests go on")


def test_fifty_snapshots_under_load_fail_no_request(proxy: Proxy) -> None:
    door = proxy.door()
    answered = [0] * 8
    failed: list[str] = []
    ends = threading.Event()

    def call(index: int) -> None:
        try:
            with Client(door) as client:
                while not ends.is_set():
                    status, head, _ = client.get(f"/{index}")
                    if status != 200:
                        failed.append(head.decode())
                    answered[index] += 1
        except (AssertionError, OSError) as fault:
            failed.append(repr(fault))

    with backend_process("v1") as first, backend_process("v1") as second:
        ports = (first, second)
        proxy.put(one_service({door: Protocol.HTTP}, (host(first),)))
        threads = [threading.Thread(target=call, args=(index,)) for index in range(len(answered))]
        for thread in threads:
            thread.start()
        for generation in range(2, 52):
            endpoints = (host(ports[generation % 2], f"default/{generation}"),)
            proxy.put(one_service({door: Protocol.HTTP}, endpoints, generation=generation))
            wait_for_more(answered, failed)
        ends.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert proxy.metrics().sum("tulle_requests_total", response_class="2xx") == sum(answered)
    assert proxy.metrics().sum("tulle_snapshot_generation") == 51


def test_a_new_policy_holds_for_the_next_request_of_an_open_connection(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoints = (host(backends.serve(echo)),)
    proxy.put(one_service({door: Protocol.HTTP}, endpoints))
    with Client(door) as client:
        assert [client.get()[0] for _ in range(3)] == [200, 200, 200]
        proxy.put(one_service({door: Protocol.HTTP}, endpoints, generation=2, policies=(only("POST"),)))
        assert client.get()[0] == 403


def test_a_request_in_flight_finishes_on_the_old_snapshot(proxy: Proxy, backends: Backends) -> None:
    hold = Hold(b"old")
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(hold)),)))
    with Client(door) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        until(lambda: proxy.get("/status")["requests_in_flight"] == 1, "it is served")
        proxy.put(one_service({}, (), generation=2))
        hold.let_go()
        assert client.read()[2] == b"old"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{", "truncated"),
        (b"[]", "array"),
        (b'{"generation": 2}', "mesh"),
        (b'{"generation": 2, "mesh": "m", "trust_domain": "t", "colour": 1}', "colour"),
        (b'{"generation": 2, "mesh": "m", "trust_domain": "t", "doors": [{"port": 1, "service": "a", "service_port": 1}]}', "a:1"),
        (b'{"generation": 2, "mesh": "m", "trust_domain": "t", "policies": [{"name": "a", "action": "ASK"}]}', "$.policies[0].action"),
        (b'{"generation": 2, "mesh": "m", "trust_domain": "t", "policies": [{"name": "\xff", "action": "DENY"}]}', "utf-8"),
        (b'{"schema_version": 99, "generation": 2, "mesh": "m", "trust_domain": "t"}', "schema_version"),
    ],
)  # fmt: skip
def test_a_bad_snapshot_changes_nothing_and_is_told_why(
    proxy: Proxy, backends: Backends, text: bytes, says: str
) -> None:
    door = proxy.door()
    snapshot = one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),))
    proxy.put(snapshot)
    status, answer = proxy.ask("PUT", "/snapshot", text)
    assert status == 400
    assert says in json.loads(answer)["error"]
    assert proxy.ask("GET", "/snapshot") == (200, encode_snapshot(snapshot))
    assert proxy.metrics().sum("tulle_snapshots_total", result="refused") == 1
    with Client(door) as client:
        assert client.get()[0] == 200


def test_a_proxy_started_alone_serves_what_the_last_one_served(backends: Backends) -> None:
    memory = os.memfd_create("snapshot")
    with Proxy(memory) as first:
        door = first.door()
        first.hand_over("synced", "")
        for generation in (1, 2, 3):
            first.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), generation=generation))
        listener = first.doors[door].dup()
        first.process.kill()
        first.process.wait()
        with Client(door) as waiting, Proxy(memory) as second:
            waiting.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            second.hand_over("door", str(door), listener)
            second.hand_over("synced", "")
            assert waiting.read()[0] == 200
            assert second.get("/status")["generation"] == 3
    listener.close()
    os.close(memory)


def test_nothing_is_accepted_before_a_snapshot_and_nothing_is_refused(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    with Client(door) as early:
        early.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert proxy.ask("GET", "/ready")[0] == 503
        assert proxy.ask("GET", "/live")[0] == 200
        proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
        assert early.read()[0] == 200
        assert proxy.ask("GET", "/ready")[0] == 200


def ask_to_drain(proxy: Proxy, how: str) -> None:
    if how == "SIGTERM":
        proxy.process.send_signal(signal.SIGTERM)
    elif how == "POST /drain":
        assert proxy.ask("POST", "/drain")[0] == 202
    else:
        proxy.control.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("how", ["SIGTERM", "POST /drain", "the supervisor has gone"])
def test_draining_finishes_what_is_served_and_ends(proxy: Proxy, backends: Backends, how: str) -> None:
    hold = Hold(b"done")
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(hold)),)))
    with Client(door) as busy, Client(door) as idle:
        busy.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        until(lambda: proxy.get("/status")["requests_in_flight"] == 1, "it is served")
        until(lambda: proxy.get("/status")["connections"] == 2, "both are there")
        ask_to_drain(proxy, how)
        assert idle.is_closed()
        hold.let_go()
        status, head, body = busy.read()
        assert (status, body, field(head, "connection")) == (200, b"done", "close")
        assert busy.is_closed()
    assert proxy.process.wait(DEADLINE) == 0


def test_draining_has_a_deadline(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(echo)),), limits=Limits(drain_timeout=0.2)))
    with dial(door) as sock:
        until(lambda: proxy.get("/status")["connections"] == 1, "it is there")
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(DEADLINE) == 0
        with pytest.raises(ConnectionResetError):
            read_all(sock)


def test_a_thousand_connections_at_once(proxy: Proxy) -> None:
    door = proxy.door()
    with backend_process("v1") as port:
        limits = Limits(detect_timeout=DEADLINE)  # a thousand are dialled before the first of them speaks
        proxy.put(one_service({door: Protocol.DETECT}, (host(port),), limits=limits))
        clients = [Client(door) for _ in range(1000)]
        for _ in range(3):
            for client in clients:
                client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert {client.read()[0] for client in clients} == {200}
        assert proxy.get("/status")["connections"] == 1000
        for client in clients:
            client.sock.close()
        until(lambda: proxy.get("/status")["connections"] == 0, "all are closed")
    assert proxy.metrics().sum("tulle_requests_total", response_class="2xx") == 3000


def test_tap_tells_each_request_as_it_ends(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), policies=(only("GET"),)))
    with tapping(proxy) as tap, Client(door) as client:
        client.get("/a?b=c", "x-request-id: mine")
        client.send(b"DELETE / HTTP/1.1\r\nhost: a\r\n\r\n")
        client.read()
        first, second = tap.told(2)
    assert (first["id"], first["path"], first["status"], first["class"]) == ("mine", "/a", 200, "2xx")
    assert (second["status"], second["reason"], second["destination"]) == (403, "denied", "default/orders")
    until(lambda: proxy.get("/connections") == [], "the connection is closed")


def test_connections_are_listed(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    with Client(door) as client:
        client.get()
        (one,) = proxy.get("/connections")
        assert (one["source"], one["destination"], one["protocol"], one["by"]) == (
            "anonymous",
            "default/orders",
            "http",
            f"door {door}",
        )


def test_the_admin_api_refuses_what_it_does_not_know(proxy: Proxy) -> None:
    assert proxy.ask("GET", "/nothing")[0] == 404
    assert proxy.ask("DELETE", "/snapshot")[0] == 405
    assert proxy.ask("GET", "/snapshot")[0] == 404


def test_the_proxy_holds_no_capability(proxy: Proxy) -> None:
    until(lambda: proxy.ask("GET", "/live")[0] == 200, "it runs")
    status = Path(f"/proc/{proxy.process.pid}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {facts[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert facts["NoNewPrivs"] == "1"
