"""What a hostile caller or an unlucky operator may try on the data plane, and what it costs them alone."""

import contextlib
import os
import resource
import socket
import threading
from pathlib import Path

import pytest

from tests.support.proxy_harness import (
    ALLOW_ALL,
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
    read_head,
    until,
)
from tulle.wire.snapshot import (
    Action,
    HostEndpoint,
    Limits,
    Operation,
    PodEndpoint,
    Policy,
    Protocol,
    Rule,
)

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


def sent_until_refused(sock: socket.socket, octets: bytes, most: int) -> int:
    """How much the other end takes without being read from; half a second without room counts as a refusal."""
    sock.settimeout(0.5)
    sent, rest = 0, octets
    with contextlib.suppress(TimeoutError, ConnectionError):
        while sent < most:
            taken = sock.send(rest)
            sent += taken
            rest = rest[taken:] or octets  # the kernel may take a part of it
    return sent


def descriptors(proxy: Proxy) -> int:
    return sum(1 for _ in Path(f"/proc/{proxy.process.pid}/fd").iterdir())


def cpu_seconds(proxy: Proxy) -> float:
    fields = Path(f"/proc/{proxy.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_caller_that_reads_no_refusals_is_read_no_further(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), policies=(only("POST"),)))
    with dial(door) as sock:
        assert sent_until_refused(sock, GET * 2000, 48 << 20) < 48 << 20
    assert proxy.get("/live") == {"live": True}


def test_a_caller_whose_refusals_waited_is_read_again(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), policies=(only("POST"),)))
    with dial(door) as sock:
        count = sent_until_refused(sock, GET, 24 << 20) // len(GET)
        sock.settimeout(20)
        seen = 0
        tail = b""
        while seen < count:
            read = sock.recv(1 << 20)
            assert read, "closed before all were answered"
            seen += (tail + read).count(b"HTTP/1.1 403") - tail.count(b"HTTP/1.1 403")
            tail = read[-11:]


def test_a_body_behind_an_early_answer_that_nobody_reads_is_not_kept(proxy: Proxy, backends: Backends) -> None:
    big = 16 << 20

    def answer_early(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 413 X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % big + bytes(big))
        read_all(sock)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(answer_early)),)))
    with dial(door) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n")
        got = 0
        # stop reading when the end is within what kernel and proxy hold: the last piece then waits in the proxy
        while got < big - (3 << 20):
            got += len(sock.recv(65536))
        before = proxy.resident_bytes()
        sent_until_refused(sock, bytes(1 << 20), 96 << 20)
        assert proxy.resident_bytes() - before < 16 << 20


def test_heads_to_nowhere_are_not_remembered(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    with Client(door) as client:
        assert client.get()[0] == 200
        proxy.put(one_service({}, (host(1),), generation=2))
        assert client.get()[0] == 404
        before = proxy.resident_bytes()
        for number in range(4000):
            octets = b"GET / HTTP/1.1\r\nhost: a\r\nx: %d%b\r\n\r\n" % (number, b"y" * 1900)
            client.send(octets * 3)
            for _ in range(3):
                assert client.read()[0] == 404
        assert proxy.resident_bytes() - before < 6 << 20


def test_no_descriptors_left_means_waiting_and_not_spinning(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    used = descriptors(proxy)
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (used + 4, used + 4))
    with contextlib.ExitStack() as open_ones:
        callers = [open_ones.enter_context(dial(door)) for _ in range(12)]
        until(lambda: descriptors(proxy) >= used + 4, "descriptors ran out")
        began = cpu_seconds(proxy)
        threading.Event().wait(1.0)
        assert cpu_seconds(proxy) - began < 0.3
        callers[0].sendall(GET)
        assert b"x-tulle-reason: connect-failed" in read_head(callers[0])[0]
    with Client(door) as client:
        assert client.get()[0] == 200


def test_a_broker_that_falls_behind_gets_every_question(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoint = PodEndpoint(workload="default/orders-v1", port=backends.serve(echo))
    proxy.put(one_service({door: Protocol.HTTP}, (endpoint,), limits=Limits(connect_timeout=15.0)))
    proxy.hand_over("ready", "default/orders-v1")
    until(lambda: proxy.get("/status")["endpoints"][0]["ready"], "the pod is ready")
    with proxy.broker.held(), contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(Client(door)) for _ in range(600)]
        for client in clients:
            client.send(GET)
        until(lambda: proxy.get("/status")["requests_in_flight"] == len(clients), "all wait")
        proxy.broker.let_go()
        assert [client.read()[0] for client in clients] == [200] * len(clients)


@pytest.mark.parametrize("name", ["a..b", "x" * 70 + ".invalid"])
def test_a_name_that_cannot_be_a_name_is_a_connect_failure(proxy: Proxy, name: str) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (HostEndpoint(workload="default/x", host=name, port=1),)))
    for _ in range(2):
        with Client(door) as client:
            status, head, _ = client.get()
            assert (status, field(head, "x-tulle-reason")) == (503, "connect-failed")


@pytest.mark.parametrize(("spelling", "status"), [("secret.shop", 403), ("SECRET.shop.", 403), ("secret.shop..", 400)])
def test_a_final_dot_does_not_hide_a_host(proxy: Proxy, backends: Backends, spelling: str, status: int) -> None:
    door = proxy.door()
    secret = Policy(
        name="default/secret",
        action=Action.DENY,
        rules=(Rule(operations=(Operation(hosts=("secret.shop",)),)),),
    )
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), policies=(ALLOW_ALL, secret)))
    with Client(door) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: %b\r\n\r\n" % spelling.encode())
        assert client.read()[0] == status


def test_an_answer_that_broke_off_is_followed_by_nothing(proxy: Proxy, backends: Backends) -> None:
    """Else what follows would be read as the rest of its body."""
    size = 64 << 20

    def stop(sock: socket.socket) -> None:
        read_head(sock)
        with contextlib.suppress(OSError):
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(8 << 20))

    door = proxy.door()
    limits = Limits(idle_timeout=0.4, head_timeout=0.4)
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(stop)),), limits=limits))
    with dial(door) as sock:
        sock.sendall(GET + GET)
        until(lambda: proxy.get("/status")["requests_in_flight"] == 0, "it is over")
        until(lambda: proxy.get("/connections") == [], "the caller is given up")
        assert b"x-tulle-reason" not in read_rest(sock)


def read_rest(sock: socket.socket) -> bytes:
    pieces = []
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


def test_fields_of_one_hop_decide_nothing(proxy: Proxy, backends: Backends) -> None:
    """A request id that Connection takes away is made anew."""
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    with Client(door) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: x-request-id\r\nx-request-id: mine\r\n\r\n")
        _, _, body = client.read()
        assert b"x-request-id: " in body
        assert b"mine" not in body


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.HTTP])
def test_what_outlives_its_service_leaves_no_series(proxy: Proxy, backends: Backends, protocol: Protocol) -> None:
    go = threading.Event()

    def late(sock: socket.socket) -> None:
        sock.recv(65536)
        go.wait(20)
        sock.sendall(ok(b"late"))

    door = proxy.door()
    proxy.put(one_service({door: protocol}, (host(backends.serve(late)),)))
    with dial(door) as sock:
        sock.sendall(GET)
        until(lambda: proxy.metrics().sum("tulle_upstream_connections_open") == 1, "it is connected")
        empty = one_service({}, (host(1),), generation=2)
        proxy.put(type(empty)(generation=2, mesh=empty.mesh, trust_domain=empty.trust_domain))
        go.set()
        if protocol is Protocol.HTTP:
            assert sock.recv(65536).endswith(b"late")
        else:
            with pytest.raises(ConnectionResetError):  # nothing allows it any more
                sock.recv(65536)
    until(lambda: proxy.get("/connections") == [], "it has ended")
    assert 'destination="default/orders"' not in proxy.metrics().text


def test_failing_requests_leave_no_descriptor(proxy: Proxy, backends: Backends) -> None:
    def break_off(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")

    broken, nowhere, refused = proxy.door(), proxy.door(), proxy.door()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        unused = closed.getsockname()[1]
    proxy.put(one_service({broken: Protocol.HTTP}, (host(backends.serve(break_off)),)))
    with dial(broken) as sock:
        sock.sendall(GET)
        assert read_all(sock).endswith(b"half")
    until(lambda: proxy.get("/connections") == [], "it is over")
    used = descriptors(proxy)
    for generation, (port, policies) in enumerate(((unused, (ALLOW_ALL,)), (backends.serve(break_off), (ALLOW_ALL,)))):
        doors = {broken: Protocol.HTTP, nowhere: Protocol.DETECT, refused: Protocol.TCP}
        proxy.put(one_service(doors, (host(port),), policies=policies, generation=2 + generation))
        for number in range(2500):
            with contextlib.suppress(OSError), dial((broken, nowhere, refused)[number % 3]) as sock:
                sock.sendall((GET, b"GET / HTTP/1.1\r\n\r\n", GET[:9], b"\x16\x03\x01")[number % 4])
                if number % 5:
                    sock.shutdown(socket.SHUT_WR)
                    sock.recv(65536)
    until(lambda: proxy.get("/connections") == [], "all are over")
    assert proxy.get("/status")["requests_in_flight"] == 0
    assert proxy.metrics().sum("tulle_upstream_connections_open") == 0
    assert descriptors(proxy) <= used + 1
