"""Octets that come in bulk go through pipes of the kernel: whole, in order, counted, bounded, and by copy where there is no pipe."""

import contextlib
import resource
import socket
import threading
from hashlib import sha256

import pytest

from tests.support.bulk import BULK, PIECE, descriptors, pipes, pour_on, pour_until, reset, settled, stalled
from tests.support.proxy_harness import Backends, Proxy, dial, host, one_service, only, read_all, stopped, until
from tulle.proxy.loop import READ_BYTES
from tulle.proxy.pipes import MAX_PIPES, PIPE_BYTES
from tulle.wire.snapshot import Limits, Protocol


def pour(sock: socket.socket) -> None:
    """Sends all of BULK, and ends."""
    sock.sendall(BULK)


def test_bulk_goes_both_ways_at_once_unread_and_counted(proxy: Proxy, backends: Backends) -> None:
    rounds = 4
    heard = sha256()

    def both(sock: socket.socket) -> None:
        pouring = threading.Thread(target=sock.sendall, args=(BULK * rounds,))
        pouring.start()
        while octets := sock.recv(1 << 20):
            heard.update(octets)
        pouring.join()

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(both)),)))
    rest = descriptors(proxy)
    with dial(door) as sock:

        def ask() -> None:
            sock.sendall(BULK[::-1] * rounds)
            sock.shutdown(socket.SHUT_WR)

        asking = threading.Thread(target=ask)
        asking.start()
        told = sha256()
        while octets := sock.recv(1 << 20):
            told.update(octets)
        asking.join()
    assert pipes(proxy)
    assert told.digest() == sha256(BULK * rounds).digest()
    until(lambda: heard.digest() == sha256(BULK[::-1] * rounds).digest(), "the endpoint has all")
    settled(proxy, rest)
    metrics = proxy.metrics()
    assert metrics.sum("tulle_request_bytes_total", protocol="tcp") == rounds * len(BULK)
    assert metrics.sum("tulle_response_bytes_total", protocol="tcp") == rounds * len(BULK)
    assert metrics.sum("tulle_tcp_connections_total", response_class="closed") == 1


def test_little_takes_no_pipe(proxy: Proxy, backends: Backends) -> None:
    def echo(sock: socket.socket) -> None:
        while octets := sock.recv(65536):
            sock.sendall(octets)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(echo)),)))
    with dial(door) as sock:
        for _ in range(200):
            sock.sendall(PIECE[:1000])
            assert len(sock.recv(1000, socket.MSG_WAITALL)) == 1000
    assert not pipes(proxy)


def test_a_caller_that_shuts_after_bulk_still_gets_its_answer(proxy: Proxy, backends: Backends) -> None:
    def reverse(sock: socket.socket) -> None:
        sock.sendall(read_all(sock)[::-1])

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(reverse)),)))
    rest = descriptors(proxy)
    with dial(door) as sock:
        sock.sendall(BULK)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == BULK[::-1]
    assert pipes(proxy)
    settled(proxy, rest)


def test_an_endpoint_that_shuts_after_bulk_still_gets_the_rest(proxy: Proxy, backends: Backends) -> None:
    got: list[bytes] = []

    def shut_first(sock: socket.socket) -> None:
        sock.sendall(BULK)
        sock.shutdown(socket.SHUT_WR)
        got.append(read_all(sock))

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(shut_first)),)))
    rest = descriptors(proxy)
    with dial(door) as sock:
        stalled(proxy, sock)
        assert read_all(sock) == BULK[1:]
        sock.sendall(BULK[::-1])
        sock.shutdown(socket.SHUT_WR)
        until(lambda: bool(got), "the endpoint has read to the end")
        assert got == [BULK[::-1]]
    settled(proxy, rest)


def test_a_caller_that_resets_in_mid_bulk_is_told_to_the_endpoint(proxy: Proxy, backends: Backends) -> None:
    broken: list[bool] = []

    def until_broken(sock: socket.socket) -> None:
        try:
            pour_on(sock)
        except (ConnectionResetError, BrokenPipeError):
            broken.append(True)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(until_broken)),)))
    rest = descriptors(proxy)
    with dial(door) as sock:
        stalled(proxy, sock)
        assert pipes(proxy)
        reset(sock)
    until(lambda: broken == [True], "the endpoint learns it")
    settled(proxy, rest)
    assert proxy.metrics().sum("tulle_tcp_connections_total", response_class="reset") == 1


def test_an_endpoint_that_resets_in_mid_bulk_is_told_to_the_caller(proxy: Proxy, backends: Backends) -> None:
    may_break = threading.Event()

    def break_off(sock: socket.socket) -> None:
        pour_until(sock, may_break)
        reset(sock)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(break_off)),)))
    rest = descriptors(proxy)
    with dial(door) as sock:
        stalled(proxy, sock)
        assert pipes(proxy)
        may_break.set()
        with pytest.raises(ConnectionResetError):
            read_all(sock)
    settled(proxy, rest)
    assert proxy.metrics().sum("tulle_tcp_connections_total", response_class="reset") == 1


def test_more_slow_readers_than_pipes_lose_nothing(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(pour)),)))
    rest = descriptors(proxy)
    with contextlib.ExitStack() as open_ones:
        socks = [open_ones.enter_context(dial(door)) for _ in range(MAX_PIPES + 8)]
        until(lambda: len(pipes(proxy)) == MAX_PIPES, "all pipes are lent")
        assert 0 < proxy.metrics().sum("tulle_buffered_bytes") <= MAX_PIPES * PIPE_BYTES + 8 * READ_BYTES
        for sock in socks:
            assert read_all(sock) == BULK
            assert len(pipes(proxy)) <= MAX_PIPES
    settled(proxy, rest)
    assert proxy.metrics().sum("tulle_response_bytes_total", protocol="tcp") == len(socks) * len(BULK)


def test_without_a_descriptor_for_a_pipe_bulk_is_copied(proxy: Proxy, backends: Backends) -> None:
    may_pour = threading.Event()

    def pour_later(sock: socket.socket) -> None:
        may_pour.wait(20)
        pour(sock)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(pour_later)),)))
    with dial(door) as sock:
        until(lambda: proxy.metrics().sum("tulle_upstream_connections_open") == 1, "both sides are there")
        limits = resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        may_pour.set()
        assert read_all(sock) == BULK
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, limits)
    assert not pipes(proxy)
    until(lambda: proxy.get("/connections") == [], "it is over")
    assert proxy.metrics().sum("tulle_response_bytes_total", protocol="tcp") == len(BULK)


def test_while_much_is_held_little_is_read_and_nothing_moved(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    limits = Limits(buffered_total=1)
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(pour)),), limits=limits))
    with dial(door) as first:
        held = stalled(proxy, first)
        with dial(door) as second:
            assert stalled(proxy, second, held) < held + READ_BYTES
            assert len(pipes(proxy)) == 1
            assert read_all(second) == BULK[1:]
        assert read_all(first) == BULK[1:]
    until(lambda: proxy.metrics().sum("tulle_buffered_bytes") == 0, "nothing is held")


def test_an_urgent_octet_ends_no_bulk(proxy: Proxy, backends: Backends) -> None:
    """Where one lies the kernel moves nothing, as at the end of a stream."""

    def alarm(sock: socket.socket) -> None:
        for _ in range(8):
            sock.sendall(PIECE)
            sock.send(b"!", socket.MSG_OOB)
        sock.sendall(PIECE)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(alarm)),)))
    with dial(door) as sock:
        stalled(proxy, sock)
        got = read_all(sock)
    assert (
        got.replace(PIECE[-8:] + b"!", PIECE[-8:])[-len(PIECE) :] == PIECE
    )  # overtaken, an urgent octet is one of the stream
    assert len(PIECE) * 9 - 1 <= len(got) <= len(PIECE) * 9 + 7


def test_a_denial_ends_what_is_moved(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoint = (host(backends.serve(pour_on)),)
    proxy.put(one_service({door: Protocol.TCP}, endpoint))
    rest = descriptors(proxy)
    with dial(door) as sock:
        stalled(proxy, sock)
        assert pipes(proxy)
        proxy.put(one_service({door: Protocol.TCP}, endpoint, generation=2, policies=(only("GET"),)))
        with pytest.raises(ConnectionResetError):
            read_all(sock)
    settled(proxy, rest)
    assert proxy.metrics().sum("tulle_denied_total", reason="denied") == 1


def test_moved_octets_put_off_the_idle_time_out(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    limits = Limits(idle_timeout=1.0)
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(pour_on)),), limits=limits))
    with dial(door) as sock:
        for _ in range(3):
            with dial(door):  # who does not read is idle, and ended
                until(lambda: bool(sock.recv(1 << 20)) and len(proxy.get("/connections")) == 2, "both are there")
                while len(proxy.get("/connections")) == 2:
                    assert sock.recv(1 << 20)
        assert sock.recv(1 << 20)
        assert pipes(proxy)
        with pytest.raises(ConnectionResetError):
            until(lambda: proxy.get("/connections") == [], "it is ended")
            read_all(sock)


def test_what_was_moved_before_both_ends_broke_at_once_is_counted(proxy: Proxy, backends: Backends) -> None:
    """In one turn the source sends more and the sink is gone: counted as what was copied would be."""
    ends: list[socket.socket] = []

    def keep(sock: socket.socket) -> None:
        ends.append(sock.dup())
        pour(sock)
        sock.recv(1)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(keep)),)))
    rest = descriptors(proxy)
    sock = dial(door)
    stalled(proxy, sock)
    with stopped(proxy):
        reset(sock)
        sock.close()
        for end in ends:
            reset(end)
            end.close()
    settled(proxy, rest)
    metrics = proxy.metrics()
    assert metrics.sum("tulle_tcp_connections_total", response_class="reset") == 1
    assert 0 < metrics.sum("tulle_response_bytes_total", protocol="tcp") <= len(BULK)
