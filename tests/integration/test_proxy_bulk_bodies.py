"""What is left of a large body goes through pipes of the kernel: whole, no octet more, counted, and nothing is kept whatever ends it."""

import contextlib
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.bulk import BULK, PIECE, descriptors, held, pipes, pour_on, pour_until, reset, settled, stalled
from tests.support.proxy_harness import (
    Backends,
    Client,
    Proxy,
    dial,
    host,
    ok,
    one_service,
    only,
    read_all,
    read_head,
    until,
)
from tulle.proxy.loop import READ_BYTES
from tulle.proxy.pipes import MAX_PIPES, PIPE_BYTES
from tulle.proxy.wire import BULK_BYTES, FEW_BYTES
from tulle.wire.snapshot import Limits, Protocol

ENDLESS = 1 << 40
SIZES = (
    *(0, 1, FEW_BYTES, READ_BYTES, READ_BYTES + BULK_BYTES, 2 * READ_BYTES + BULK_BYTES, PIPE_BYTES, 1 << 21),
    *(PIPE_BYTES + READ_BYTES, PIPE_BYTES + 2 * READ_BYTES),
)
sizes = st.builds(
    lambda size, more: min(len(BULK), max(0, size + more)),
    st.sampled_from(SIZES),
    st.one_of(st.integers(-2, 2), st.integers(-300, 300), st.integers(0, BULK_BYTES)),
)
exchanges = st.lists(st.tuples(sizes, sizes), min_size=1, max_size=6)
"""Octets up, octets down."""


def bodies(sock: socket.socket) -> None:
    """`/N` is answered by N octets; what the request's body was stands before them."""
    rest = b""
    while True:
        head, rest = read_head(sock, rest)
        if not head:
            return
        heard = sha256()
        left = length_of(head)
        if b"expect: 100-continue" in head.lower():
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while left:
            heard.update(rest[:left])
            left, rest = left - len(rest[:left]), rest[left:]
            if left:
                rest = sock.recv(1 << 20)
                if not rest:
                    return
        amount = int(head.split(b" ")[1][1:])
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (amount + 32) + heard.digest())
        sock.sendall(BULK[:amount])


def length_of(head: bytes) -> int:
    """What Content-Length says; 0: nothing."""
    _, found, behind = head.lower().partition(b"\r\ncontent-length: ")
    return int(behind.split(b"\r\n")[0]) if found else 0


def request(up: int, down: int, *fields: bytes) -> bytes:
    """A head: so many octets follow, so many are to come back behind the digest of those."""
    lines = b"".join(field + b"\r\n" for field in fields)
    method, length = (b"PUT", b"content-length: %d\r\n" % up) if up else (b"GET", b"")
    return b"%b /%d HTTP/1.1\r\nhost: orders\r\n%b%b\r\n" % (method, down, length, lines)


def body(up: int) -> bytes:
    """What follows that head; not how the answer's begins."""
    return BULK[len(BULK) - up :]


def answer(up: int, down: int) -> bytes:
    """The answer's body."""
    return sha256(body(up)).digest() + BULK[:down]


class Said:
    """What an endpoint answers, whatever it is asked, and how it goes on."""

    def __init__(self, promised: int, behind: Callable[[socket.socket], None]) -> None:
        self.promised = promised
        self.behind = behind

    def __call__(self, sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % self.promised)
        self.behind(sock)


@pytest.fixture
def door(proxy: Proxy) -> int:
    return proxy.door()


@pytest.fixture
def leading(proxy: Proxy, backends: Backends, door: int) -> Callable[..., int]:
    """Has an endpoint behind the door; gives how many descriptors are open then."""

    def lead(handler: Callable[[socket.socket], None], limits: Limits | None = None) -> int:
        proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(handler)),), limits=limits))
        return descriptors(proxy)

    return lead


@contextlib.contextmanager
def asked(door: int, amount: int = ENDLESS) -> Iterator[socket.socket]:
    """A caller who has asked for a large answer, and read its head."""
    with dial(door) as sock:
        sock.sendall(request(0, amount))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        yield sock


@contextlib.contextmanager
def sending(proxy: Proxy, door: int) -> Iterator[socket.socket]:
    """A caller who is in the midst of a large request, of which the endpoint takes no more, so that a pipe holds some."""
    with dial(door) as sock:
        sock.sendall(request(ENDLESS, 0))
        sock.setblocking(False)

        def is_clogged() -> bool:
            with contextlib.suppress(BlockingIOError):
                sock.send(PIECE)
            return held(proxy) > 0

        until(is_clogged, "the endpoint's kernel takes no more")
        assert pipes(proxy)
        sock.settimeout(20)
        yield sock


class Deaf:
    """An endpoint that reads heads and then nothing, until it is told how to go on."""

    def __init__(self, then: Callable[[socket.socket, bytes], None]) -> None:
        self.may_go_on = threading.Event()
        self._then = then

    def __call__(self, sock: socket.socket) -> None:
        _, rest = read_head(sock)
        self.may_go_on.wait(20)
        self._then(sock, rest)


def until_told(told: list[str]) -> Callable[[socket.socket], None]:
    """Sends until somebody breaks it off, and says so."""

    def work(sock: socket.socket) -> None:
        try:
            pour_on(sock)
        except (ConnectionResetError, BrokenPipeError):
            told.append("broken")

    return work


def classes(proxy: Proxy, name: str) -> float:
    """Exchanges that ended so."""
    return proxy.metrics().sum("tulle_requests_total", response_class=name)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=exchanges)
def test_bodies_of_any_size_follow_each_other_on_two_kept_connections(
    shared: tuple[int, Backends], told: list[tuple[int, int]]
) -> None:
    door, backends = shared
    before = backends.connections
    with Client(door) as client:
        for up, down in told:
            client.send(request(up, down) + body(up))
            assert client.read()[2] == answer(up, down)
    assert backends.connections <= before + 1


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=exchanges)
def test_a_request_right_behind_a_body_is_none_of_it(shared: tuple[int, Backends], told: list[tuple[int, int]]) -> None:
    door, _ = shared
    octets = b"".join(request(up, down) + body(up) for up, down in told)
    with Client(door) as client:
        pouring = threading.Thread(target=client.send, args=(octets,))
        pouring.start()
        for up, down in told:
            assert client.read()[2] == answer(up, down)
        pouring.join()


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[int, Backends]]:
    """One proxy for all examples of a law: its door, and who is behind it."""
    backends = Backends()
    with Proxy() as proxy:
        proxy.hand_over("synced", "")
        door = proxy.door()
        proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(bodies)),)))
        yield door, backends
    backends.close()


def test_large_bodies_are_moved_and_counted(proxy: Proxy, door: int, leading: Callable[..., int]) -> None:
    rest = leading(bodies)
    with Client(door) as client:
        for _ in range(3):
            client.send(request(len(BULK), len(BULK)) + BULK)
            assert client.read()[2] == answer(len(BULK), len(BULK))
        assert pipes(proxy)
    settled(proxy, rest + 1)  # the endpoint's connection is kept
    metrics = proxy.metrics()
    assert metrics.sum("tulle_request_bytes_total") == 3 * len(BULK)
    assert metrics.sum("tulle_response_bytes_total") == 3 * (len(BULK) + 32)
    assert classes(proxy, "2xx") == 3
    assert metrics.sum("tulle_upstream_connections_open") == 1


def test_what_is_not_large_takes_no_pipe(proxy: Proxy, door: int, leading: Callable[..., int]) -> None:
    leading(bodies)
    with Client(door) as client:
        for _ in range(50):
            client.send(request(BULK_BYTES - 1, BULK_BYTES - 33) + body(BULK_BYTES - 1))
            assert client.read()[2] == answer(BULK_BYTES - 1, BULK_BYTES - 33)
    assert not pipes(proxy)


def test_chunks_are_read_however_many(proxy: Proxy, door: int, leading: Callable[..., int]) -> None:
    def chunks(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for at in range(0, len(BULK), 1 << 20):
            sock.sendall(b"100000\r\n" + BULK[at : at + (1 << 20)] + b"\r\n")
        sock.sendall(b"0\r\n\r\n")

    leading(chunks)
    with Client(door) as client:
        assert client.get()[2] == BULK
    assert not pipes(proxy)


@pytest.mark.parametrize("ends", [lambda sock: None, reset], ids=["closed", "reset"])
def test_an_answer_that_breaks_off_never_looks_whole(
    proxy: Proxy, door: int, leading: Callable[..., int], ends: Callable[[socket.socket], None]
) -> None:
    may_break = threading.Event()

    def break_off(sock: socket.socket) -> None:
        pour_until(sock, may_break)
        ends(sock)

    rest = leading(Said(ENDLESS, break_off))
    with asked(door) as sock:
        stalled(proxy, sock)
        assert pipes(proxy)
        may_break.set()
        with contextlib.suppress(ConnectionResetError):
            assert len(read_all(sock)) < ENDLESS
    settled(proxy, rest)
    assert classes(proxy, "truncated") == 1
    assert proxy.metrics().sum("tulle_upstream_connections_open") == 0


@pytest.mark.parametrize("missing", [1, FEW_BYTES, PIPE_BYTES])
def test_an_answer_short_of_its_length_is_cut_off_and_the_next_is_not_taken_for_its_rest(
    proxy: Proxy, door: int, leading: Callable[..., int], missing: int
) -> None:
    rest = leading(Said(len(BULK) + missing, lambda sock: sock.sendall(BULK)))
    with dial(door) as sock:
        sock.sendall(request(0, 0) * 2)
        got = read_all(sock)
    assert got.partition(b"\r\n\r\n")[2] == BULK
    settled(proxy, rest)
    assert classes(proxy, "truncated") == 1


def test_octets_behind_an_answer_reach_nobody(
    proxy: Proxy, backends: Backends, door: int, leading: Callable[..., int]
) -> None:
    stray = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray"

    def too_much(sock: socket.socket) -> None:
        sock.sendall(BULK + stray)
        with contextlib.suppress(OSError):
            read_all(sock)

    rest = leading(Said(len(BULK), too_much))
    with Client(door) as client:
        for _ in range(3):
            assert client.get()[2] == BULK
    assert backends.connections == 3
    until(lambda: proxy.metrics().sum("tulle_upstream_connections_open") == 0, "the connection is not kept")
    settled(proxy, rest)


@pytest.mark.parametrize("ends", [lambda sock: None, reset], ids=["closed", "reset"])
def test_a_caller_that_leaves_in_mid_answer_is_told_to_the_endpoint(
    proxy: Proxy, door: int, leading: Callable[..., int], ends: Callable[[socket.socket], None]
) -> None:
    told: list[str] = []
    rest = leading(Said(ENDLESS, until_told(told)))
    with asked(door) as sock:
        stalled(proxy, sock)
        assert pipes(proxy)
        ends(sock)
    until(lambda: told == ["broken"], "the endpoint learns it")
    settled(proxy, rest)
    assert classes(proxy, "aborted") == 1
    assert 0 < proxy.metrics().sum("tulle_response_bytes_total") < ENDLESS


@pytest.mark.parametrize("ends", [lambda sock: None, reset], ids=["closed", "reset"])
def test_a_caller_that_leaves_in_mid_request_is_told_to_the_endpoint(
    proxy: Proxy, door: int, leading: Callable[..., int], ends: Callable[[socket.socket], None]
) -> None:
    told: list[int] = []

    def drain(sock: socket.socket, rest: bytes) -> None:
        got = len(rest)
        with contextlib.suppress(ConnectionResetError):
            while read := len(sock.recv(1 << 20)):
                got += read
        told.append(got)

    endpoint = Deaf(drain)
    rest = leading(endpoint)
    with sending(proxy, door) as sock:
        ends(sock)
    endpoint.may_go_on.set()
    until(lambda: len(told) == 1, "the endpoint learns it")
    settled(proxy, rest)
    assert classes(proxy, "aborted") == 1
    assert told[0] <= proxy.metrics().sum("tulle_request_bytes_total") < ENDLESS


def test_an_endpoint_that_resets_in_mid_request_is_not_asked_again(
    proxy: Proxy, backends: Backends, door: int, leading: Callable[..., int]
) -> None:
    """On a kept connection, and by a method that may be repeated: but part of the body has gone."""
    may_break = threading.Event()

    def break_off(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(ok(b""))
        read_head(sock)
        may_break.wait(20)
        reset(sock)

    rest = leading(break_off)
    with Client(door) as client:
        assert client.get()[0] == 200
    with sending(proxy, door) as sock:
        may_break.set()
        with contextlib.suppress(ConnectionResetError):
            assert read_head(sock)[0].startswith(b"HTTP/1.1 502 ")
    settled(proxy, rest)
    assert backends.connections == 1
    assert classes(proxy, "5xx") == 1
    assert proxy.metrics().sum("tulle_retries_total") == 0


def test_an_answer_before_the_request_is_whole_ends_both(proxy: Proxy, door: int, leading: Callable[..., int]) -> None:
    endpoint = Deaf(lambda sock, _: sock.sendall(ok(b"enough")))
    rest = leading(endpoint)
    with sending(proxy, door) as sock:
        endpoint.may_go_on.set()
        head, body = read_head(sock)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nconnection: close\r\n" in head.lower()
        while len(body) < 6:
            body += sock.recv(6)
        assert body == b"enough"
    settled(proxy, rest)
    assert classes(proxy, "2xx") == 1
    assert proxy.metrics().sum("tulle_upstream_connections_open") == 0


def test_a_slow_endpoint_gets_all_and_its_caller_waits(proxy: Proxy, door: int, leading: Callable[..., int]) -> None:
    amount = 8 * len(BULK)
    told: list[bytes] = []

    def drain(sock: socket.socket, rest: bytes) -> None:
        heard, got = sha256(rest), len(rest)
        while got < amount and (octets := sock.recv(100_000)):
            heard.update(octets)
            got += len(octets)
        told.append(heard.digest())
        sock.sendall(ok(b""))

    endpoint = Deaf(drain)
    rest = leading(endpoint)
    with Client(door) as client:
        pouring = threading.Thread(target=client.send, args=(request(amount, 0) + BULK * 8,))
        pouring.start()
        until(lambda: held(proxy) > 0, "the endpoint's kernel takes no more")
        assert held(proxy) <= PIPE_BYTES
        endpoint.may_go_on.set()
        assert client.read()[0] == 200
        pouring.join()
    assert told == [sha256(BULK * 8).digest()]
    settled(proxy, rest + 1)


def test_more_slow_readers_than_pipes_get_all(proxy: Proxy, door: int, leading: Callable[..., int]) -> None:
    rest = leading(bodies)
    with contextlib.ExitStack() as open_ones:
        socks = [open_ones.enter_context(asked(door, len(BULK))) for _ in range(MAX_PIPES + 8)]
        until(lambda: len(pipes(proxy)) == MAX_PIPES, "all pipes are lent")
        with Client(door) as client:
            client.send(request(0, len(BULK)))
            assert client.read()[2] == answer(0, len(BULK))
        assert 0 < held(proxy) <= MAX_PIPES * PIPE_BYTES + 8 * READ_BYTES
        for sock in socks:
            got = b""
            while len(got) < len(BULK) + 32:
                got += sock.recv(1 << 20)
            assert got == answer(0, len(BULK))
            assert len(pipes(proxy)) <= MAX_PIPES
    settled(proxy, rest + MAX_PIPES + 9)  # each endpoint's connection is kept
    assert classes(proxy, "2xx") == len(socks) + 1


def test_a_new_denial_lets_the_body_end_and_denies_what_follows(proxy: Proxy, backends: Backends, door: int) -> None:
    endpoint = (host(backends.serve(bodies)),)
    proxy.put(one_service({door: Protocol.HTTP}, endpoint))
    with asked(door, len(BULK)) as sock:
        stalled(proxy, sock)
        proxy.put(one_service({door: Protocol.HTTP}, endpoint, generation=2, policies=(only("PUT"),)))
        sock.sendall(request(0, 1))
        got = len(answer(0, len(BULK))) - 1
        while got > 0:
            got -= len(sock.recv(min(got, 1 << 20)))
        assert read_head(sock)[0].startswith(b"HTTP/1.1 403 ")


def test_a_drain_ends_what_is_moved_by_its_deadline(proxy: Proxy, door: int, leading: Callable[..., int]) -> None:
    told: list[str] = []
    leading(Said(ENDLESS, until_told(told)), Limits(drain_timeout=0.3))
    with asked(door) as sock:
        stalled(proxy, sock)
        assert pipes(proxy)
        os.kill(proxy.process.pid, signal.SIGTERM)
        assert proxy.process.wait(20) == 0
        with contextlib.suppress(ConnectionResetError):
            assert len(read_all(sock)) < ENDLESS
    until(lambda: told == ["broken"], "the endpoint learns it")


def test_moved_octets_put_off_the_idle_time_out_and_who_does_not_read_is_idle(
    proxy: Proxy, door: int, leading: Callable[..., int]
) -> None:
    rest = leading(Said(ENDLESS, pour_on), Limits(idle_timeout=1.0))
    with asked(door) as sock:
        for _ in range(3):
            with dial(door):  # asks nothing, and is ended for it
                until(lambda: bool(sock.recv(1 << 20)) and len(proxy.get("/connections")) == 2, "both are there")
                while len(proxy.get("/connections")) == 2:
                    assert sock.recv(1 << 20)
        assert sock.recv(1 << 20)
        assert pipes(proxy)
        settled(proxy, rest)
    assert classes(proxy, "aborted") == 1


def test_an_endpoint_that_falls_silent_in_mid_answer_is_cut_off(
    proxy: Proxy, door: int, leading: Callable[..., int]
) -> None:
    def fall_silent(sock: socket.socket) -> None:
        sock.sendall(BULK)
        read_all(sock)

    rest = leading(Said(ENDLESS, fall_silent), Limits(idle_timeout=1.0))
    with asked(door) as sock:
        assert read_all(sock) == BULK
    settled(proxy, rest)
    assert classes(proxy, "truncated") == 1


def test_a_caller_that_falls_silent_in_mid_request_is_answered(
    proxy: Proxy, door: int, leading: Callable[..., int]
) -> None:
    rest = leading(bodies, Limits(idle_timeout=1.0))
    with dial(door) as sock:
        sock.sendall(request(ENDLESS, 0) + BULK)
        assert read_head(sock)[0].startswith(b"HTTP/1.1 408 ")
    settled(proxy, rest)


def test_who_expects_100_sends_a_large_body_afterwards(proxy: Proxy, door: int, leading: Callable[..., int]) -> None:
    leading(bodies)
    with Client(door) as client:
        for _ in range(2):
            client.send(request(len(BULK), 0, b"expect: 100-continue"))
            assert client.read()[0] == 100
            client.send(BULK)
            assert client.read()[2] == answer(len(BULK), 0)
    assert pipes(proxy)


def test_without_a_descriptor_for_a_pipe_bodies_are_copied(
    proxy: Proxy, door: int, leading: Callable[..., int]
) -> None:
    leading(bodies)
    with Client(door) as client:
        client.send(request(1, 1) + body(1))
        assert client.read()[2] == answer(1, 1)
        limits = resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        client.send(request(len(BULK), len(BULK)) + BULK)
        assert client.read()[2] == answer(len(BULK), len(BULK))
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, limits)
    assert not pipes(proxy)


def test_while_much_is_held_bodies_are_copied(proxy: Proxy, door: int, leading: Callable[..., int]) -> None:
    leading(bodies, Limits(buffered_total=4 * READ_BYTES))
    with asked(door, len(BULK)) as first:
        before = stalled(proxy, first)
        with Client(door) as client:
            client.send(request(0, 1))
            assert client.read()[0] == (503 if before > 4 * READ_BYTES else 200)
        assert len(pipes(proxy)) == 1
        got = 1
        while got < len(BULK) + 32:
            got += len(first.recv(1 << 20))
    until(lambda: held(proxy) == 0, "nothing is held")
