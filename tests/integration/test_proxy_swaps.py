"""What a new snapshot does to what is open already, and what the proxy says when it cannot keep it."""

import json
import os
import signal
import socket
import threading

import pytest

from tests.support.proxy_harness import (
    DEADLINE,
    Backends,
    Client,
    Proxy,
    dial,
    echo,
    field,
    host,
    ok,
    one_service,
    only,
    read_all,
    requests,
    until,
)
from tests.support.tapping import tapping
from tulle.wire.snapshot import (
    Action,
    Limits,
    Mode,
    Policy,
    Protocol,
    Rule,
    encode_snapshot,
)

DENY_ALL = Policy(name="default/closed", action=Action.DENY, rules=(Rule(),))


def repeat(sock: socket.socket) -> None:
    while octets := sock.recv(65536):
        sock.sendall(octets)


def is_reset(sock: socket.socket) -> bool:
    """Waits for the end; an orderly one is none of it."""
    try:
        read_all(sock)
    except ConnectionResetError:
        return True
    return False


def read_until(sock: socket.socket, wanted: bytes) -> None:
    got = b""
    while wanted not in got:
        piece = sock.recv(65536)
        assert piece, got
        got += piece


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.DETECT])
def test_an_opaque_connection_that_a_new_policy_would_refuse_is_cut(
    proxy: Proxy, backends: Backends, protocol: Protocol
) -> None:
    door = proxy.door()
    endpoints = (host(backends.serve(repeat)),)
    proxy.put(one_service({door: protocol}, endpoints))
    with dial(door) as sock:
        sock.sendall(b"\x00one")
        assert sock.recv(100) == b"\x00one"
        proxy.put(one_service({door: protocol}, endpoints, generation=2))
        sock.sendall(b"two")
        assert sock.recv(100) == b"two"
        proxy.put(one_service({door: protocol}, endpoints, generation=3, policies=(DENY_ALL,)))
        assert is_reset(sock)
    metrics = proxy.metrics()
    labels = {"source": "anonymous", "destination": "default/orders", "reason": "denied"}
    assert metrics.sum("tulle_denied_total", policy="default/closed", **labels) == 1
    assert metrics.sum("tulle_answers_total", **labels) == 1
    assert metrics.sum("tulle_tcp_connections_total", response_class="reset") == 1
    assert metrics.sum("tulle_upstream_connections_open") == 0
    assert proxy.get("/status")["connections"] == 0


def test_shadow_mode_cuts_nothing(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoints = (host(backends.serve(repeat)),)
    proxy.put(one_service({door: Protocol.TCP}, endpoints))
    with dial(door) as sock:
        sock.sendall(b"one")
        assert sock.recv(100) == b"one"
        shadow = one_service({door: Protocol.TCP}, endpoints, generation=2, policies=(DENY_ALL,), mode=Mode.SHADOW)
        proxy.put(shadow)
        sock.sendall(b"two")
        assert sock.recv(100) == b"two"


def test_a_connection_still_silent_is_judged_by_the_snapshot_in_force(proxy: Proxy, backends: Backends) -> None:
    """Accepted under a snapshot that let it pass, detected under one that does not."""
    door = proxy.door()
    endpoints = (host(backends.serve(repeat)),)
    limits = Limits(detect_timeout=DEADLINE)
    proxy.put(one_service({door: Protocol.DETECT}, endpoints, limits=limits))
    with dial(door) as sock:
        until(lambda: bool(proxy.get("/status")["connections"] == 1), "it is accepted")
        proxy.put(one_service({door: Protocol.DETECT}, endpoints, generation=2, limits=limits, policies=(DENY_ALL,)))
        sock.sendall(b"\x00")
        assert is_reset(sock)
    assert backends.connections == 0


def test_every_request_of_an_open_connection_is_judged_anew(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoints = (host(backends.serve(echo)),)
    with Client(door) as client:
        for generation, policy, status in ((1, only("GET"), 200), (2, DENY_ALL, 403), (3, only("GET"), 200)):
            proxy.put(one_service({door: Protocol.HTTP}, endpoints, generation=generation, policies=(policy,)))
            assert [client.get()[0] for _ in range(3)] == [status] * 3


def test_a_snapshot_that_cannot_be_remembered_is_in_force_all_the_same() -> None:
    writable = os.memfd_create("snapshot")
    memory = os.open(f"/proc/self/fd/{writable}", os.O_RDONLY)
    with Proxy(memory) as proxy:
        proxy.hand_over("synced", "")
        door = proxy.door()
        status, answer = proxy.ask(
            "PUT", "/snapshot", encode_snapshot(one_service({door: Protocol.HTTP}, (), generation=7))
        )
        assert status == 200
        said = json.loads(answer)
        assert said["generation"] == proxy.get("/status")["generation"] == 7
        assert "not remembered" in said["warning"]
        assert proxy.get("/status")["warnings"] == [said["warning"]]
        assert proxy.metrics().sum("tulle_snapshots_total", result="accepted") == 1
        with Client(door) as client:
            assert client.get()[0] == 503
        assert said["warning"] in proxy.complaints()
        proxy.log.truncate(0)


def test_what_is_not_done_when_the_drain_ends_is_told_so(proxy: Proxy, backends: Backends) -> None:
    """No answer yet: 503. Half an answer, or octets: a reset, so that nobody takes it for the whole."""
    release = threading.Event()

    def hold(sock: socket.socket) -> None:
        for head, _ in requests(sock):
            if head.startswith(b"GET /half"):
                sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            elif head.startswith(b"GET /quick"):
                sock.sendall(ok(b"quick"))
                continue
            release.wait(DEADLINE)
            return

    web, raw = proxy.door(), proxy.door()
    endpoint = (host(backends.serve(hold)),)
    limits = Limits(drain_timeout=0.3)
    proxy.put(one_service({web: Protocol.HTTP, raw: Protocol.TCP}, endpoint, limits=limits))
    with Client(web) as waiting, dial(web) as half, dial(raw) as opaque, Client(web) as idle:
        assert idle.get("/quick")[0] == 200
        waiting.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        half.sendall(b"GET /half HTTP/1.0\r\nhost: a\r\n\r\n")
        read_until(half, b"half")
        opaque.sendall(b"x")
        until(lambda: bool(proxy.get("/status")["requests_in_flight"] == 2), "both are asked")
        proxy.process.send_signal(signal.SIGTERM)
        assert idle.is_closed()
        status, head, _ = waiting.read()
        assert (status, field(head, "x-tulle-reason"), field(head, "connection")) == (503, "draining", "close")
        assert is_reset(half)
        assert is_reset(opaque)
        assert proxy.process.wait(DEADLINE) == 0
    release.set()


def test_tap_tells_each_opaque_connection_as_it_ends(proxy: Proxy, backends: Backends) -> None:
    open_door, closed_door = proxy.door(), proxy.door()
    endpoint = (host(backends.serve(repeat)),)
    proxy.put(one_service({open_door: Protocol.TCP, closed_door: Protocol.HTTP}, endpoint))
    with tapping(proxy, "?protocol=tcp") as tap:
        with Client(closed_door) as client:
            assert client.get()[0] == 502
        with dial(open_door) as sock:
            sock.sendall(b"hello")
            read_until(sock, b"hello")
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b""
        with dial(open_door) as sock:
            sock.sendall(b"more")
            read_until(sock, b"more")
            proxy.put(
                one_service(
                    {open_door: Protocol.TCP, closed_door: Protocol.HTTP}, endpoint, generation=2, policies=(DENY_ALL,)
                )
            )
            assert is_reset(sock)
        closed, cut = tap.told(2)
    assert closed.items() >= {
        "protocol": "tcp", "source": "anonymous", "destination": "default/orders", "version": "v1", "class": "closed",
        "reason": "", "policy": "default/all", "bytes_in": 5, "bytes_out": 5,
    }.items()  # fmt: skip
    assert closed["seconds"] >= 0
    assert cut.items() >= {
        "class": "reset", "reason": "denied", "policy": "default/closed", "bytes_in": 4, "bytes_out": 4,
    }.items()  # fmt: skip
