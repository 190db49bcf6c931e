"""Second attempts: when there is one, and when there must not be."""

import contextlib
import socket
from pathlib import Path

import pytest

from tests.support.proxy_harness import (
    DEADLINE,
    Backends,
    Client,
    Proxy,
    echo,
    field,
    host,
    ok,
    one_service,
    read_head,
    requests,
    stopped,
    until,
)
from tools.ports import free_port
from tulle.wire.snapshot import HostEndpoint, Limits, PodEndpoint, Protocol


class Forgetful:
    """Answers one request per connection, says it would go on, and closes when the next one comes."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def __call__(self, sock: socket.socket) -> None:
        for number, (head, body) in enumerate(requests(sock)):
            if number == 1:
                return
            self.seen.append(head.split(b" ")[0] + body)
            sock.sendall(ok(b"yes"))


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_stale_connection_costs_an_idempotent_request_nothing(proxy: Proxy, backends: Backends, method: str) -> None:
    forgetful = Forgetful()
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(forgetful)),)))
    with Client(door) as client:
        for _ in range(3):
            client.send(f"{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody".encode())
            assert client.read()[0] == 200
    assert forgetful.seen == [method.encode() + b"body"] * 3
    assert proxy.metrics().sum("tulle_retries_total", cause="stale") == 2
    assert proxy.metrics().sum("tulle_requests_total") == 3


def test_a_stale_connection_is_not_hidden_from_what_may_not_be_repeated(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(Forgetful())),)))
    with Client(door) as client:
        assert client.get()[0] == 200
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody")
        status, head, _ = client.read()
        assert (status, field(head, "x-tulle-reason")) == (502, "upstream-reset")
    assert proxy.metrics().sum("tulle_retries_total") == 0


def test_an_endpoint_that_began_to_answer_is_not_asked_again(proxy: Proxy, backends: Backends) -> None:
    def break_off(sock: socket.socket) -> None:
        for number, _ in enumerate(requests(sock)):
            if number == 1:
                sock.sendall(b"HTTP/1.1 200 O")
                return
            sock.sendall(ok(b"yes"))

    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(break_off)),)))
    with Client(door) as client:
        assert [client.get()[0] for _ in range(2)] == [200, 502]


def test_a_fresh_connection_that_closes_is_no_stale_one(proxy: Proxy, backends: Backends) -> None:
    def leave(sock: socket.socket) -> None:
        read_head(sock)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(leave)),)))
    with Client(door) as client:
        assert client.get()[0] == 502
    assert backends.connections == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connect_failure_tries_another_endpoint(proxy: Proxy, backends: Backends, method: str) -> None:
    door = proxy.door()
    endpoints = (host(free_port(), "default/dead"), host(backends.serve(echo), "default/alive"))
    proxy.put(one_service({door: Protocol.HTTP}, endpoints))
    with Client(door) as client:
        for _ in range(20):
            client.send(f"{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".encode())
            assert client.read()[0] == 200
    assert proxy.metrics().sum("tulle_retries_total", cause="connect") > 0


def test_when_no_endpoint_can_be_reached_the_answer_says_so(proxy: Proxy) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, tuple(host(free_port(), f"default/{n}") for n in "abcde")))
    with Client(door) as client:
        status, head, _ = client.get()
        assert (status, field(head, "x-tulle-reason")) == (503, "connect-failed")
    assert proxy.metrics().sum("tulle_retries_total", cause="connect") == 2
    assert all(one["in_flight"] == 0 for one in proxy.get("/status")["endpoints"])


def test_a_broker_that_refuses_counts_as_a_connect_failure(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    port = backends.serve(echo)
    proxy.broker.refuses.add("default/gone")
    pods = (PodEndpoint(workload="default/gone", port=port), PodEndpoint(workload="default/there", port=port))
    for pod in pods:
        proxy.hand_over("ready", pod.workload)
    proxy.put(one_service({door: Protocol.HTTP}, pods))
    proxy.until(lambda: all(one["ready"] for one in proxy.get("/status")["endpoints"]), "both are ready")
    with Client(door) as client:
        assert {client.get()[0] for _ in range(10)} == {200}


def test_a_name_is_resolved(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoint = HostEndpoint(workload="default/named", host="localhost", port=backends.serve(echo))
    proxy.put(one_service({door: Protocol.HTTP}, (endpoint,)))
    with Client(door) as client:
        assert client.get()[0] == 200


def test_a_broker_forked_again_is_asked_again_at_once(proxy: Proxy, backends: Backends) -> None:
    """The connect deadline is beyond the test's: only the second asking can help."""
    door = proxy.door()
    pod = PodEndpoint(workload="default/orders-v1", port=backends.serve(echo))
    proxy.hand_over("ready", pod.workload)
    proxy.put(one_service({door: Protocol.HTTP}, (pod,), limits=Limits(connect_timeout=10 * DEADLINE)))
    proxy.broker.forgets = 3
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(door)) for _ in range(3)]
        for client in clients:
            client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody")
        until(lambda: len(proxy.broker.asked) == 3, "the first broker has the questions")
        proxy.hand_over("broker", "")
        assert [client.read()[0] for client in clients] == [200] * 3
    assert len(proxy.broker.asked) == 6
    assert proxy.metrics().sum("tulle_retries_total") == 0


def test_a_brokers_socket_that_ends_fails_over_at_once(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    pods = tuple(PodEndpoint(workload=f"default/{name}", port=1) for name in "abc")
    for pod in pods:
        proxy.hand_over("ready", pod.workload)
    limits = Limits(connect_timeout=10 * DEADLINE)
    proxy.put(one_service({door: Protocol.HTTP}, pods, limits=limits))
    proxy.broker.forgets = 1
    with Client(door) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        until(lambda: len(proxy.broker.asked) == 1, "it is asked")
        proxy.broker.close()
        for _ in range(2):
            status, head, _ = client.read()
            assert (status, field(head, "x-tulle-reason")) == (503, "connect-failed")
            client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert "broker" in proxy.complaints()
    proxy.log.truncate(0)


def test_a_broker_that_answers_too_late_is_waited_for_no_longer(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    pod = PodEndpoint(workload="default/orders-v1", port=backends.serve(echo))
    proxy.hand_over("ready", pod.workload)
    proxy.put(one_service({door: Protocol.HTTP}, (pod,)))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(door)) for _ in range(8)]
        assert clients[0].get()[0] == 200
        proxy.put(one_service({door: Protocol.HTTP}, (pod,), generation=2, limits=Limits(connect_timeout=0.2)))
        descriptors = len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))
        asked = len(proxy.broker.asked)
        with proxy.broker.held():
            with stopped(proxy):  # or the one kept connection may serve two of them, one after the other
                for client in clients:
                    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n!")
            assert sorted(client.read()[0] for client in clients) == [200, *[503] * 7]
        until(lambda: len(proxy.broker.asked) >= asked + 7, "the broker has answered all")
        until(
            lambda: len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir())) <= descriptors,
            "what came late is closed",
        )
        for client in clients:
            assert client.get()[0] == 200
    assert proxy.get("/status")["endpoints"][0]["in_flight"] == 0


@pytest.mark.parametrize("octets", [b"no json", b"{}", b"[]", b'{"id": "x"}', b'{"id": -5}'])
def test_what_a_broker_should_not_say_harms_nobody(proxy: Proxy, backends: Backends, octets: bytes) -> None:
    door = proxy.door()
    pod = PodEndpoint(workload="default/orders-v1", port=backends.serve(echo))
    proxy.hand_over("ready", pod.workload)
    proxy.put(one_service({door: Protocol.HTTP}, (pod,)))
    descriptors = len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))
    proxy.broker.say(octets)
    with Client(door) as client:
        assert client.get()[0] == 200
        until(lambda: len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir())) <= descriptors + 2, "nothing is left")
    proxy.log.truncate(0)
