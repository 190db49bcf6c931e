"""A proxy that takes another's place: nobody who is served by the old one notices, and nothing is counted twice or lost."""

import json
import signal
import socket

import pytest

from tests.support.h2_peer import Peer, get
from tests.support.proxy_harness import (
    DEADLINE,
    Backends,
    Client,
    Hold,
    Proxy,
    dial,
    echo,
    host,
    one_service,
    only,
    read_all,
    stopped,
    until,
)
from tests.support.succession import join, scraped, successor, word
from tulle.http.h2.frames import GOAWAY, MAX_STREAM_ID, PING, frame
from tulle.proxy.memory import SnapshotMemory
from tulle.wire.snapshot import Limits, Protocol, encode_snapshot

REQUEST = b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n"
TOTAL = "tulle_requests_total"


def last_ids(peer: Peer) -> list[int]:
    """What its GOAWAYs said."""
    return [int.from_bytes(one.payload[:4], "big") for one in list(peer.frames) if one.kind == GOAWAY]


def test_an_idle_caller_is_served_once_more_and_told_to_come_again(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    with Client(door) as caller:
        caller.send(REQUEST)
        assert b"connection: close" not in caller.read()[1].lower()
        with successor(proxy) as new:
            join(proxy, new)
            until(lambda: proxy.get("/status")["draining"], "the old one drains")
            with Client(door) as other:
                other.send(REQUEST)
                assert other.read()[1].startswith(b"HTTP/1.1 200 ")
            assert proxy.process.poll() is None, "it ended although a caller may ask at any time"

            caller.send(REQUEST)
            head = caller.read()[1]

            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in head.lower()
            assert read_all(caller.sock) == b""
            caller.sock.close()
            assert proxy.process.wait(DEADLINE) == 0
            until(lambda: new.metrics().sum(TOTAL) == 3, "all is counted")


def test_a_request_that_is_served_ends_well(proxy: Proxy, backends: Backends) -> None:
    hold = Hold(b"done")
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(hold)),)))
    with Client(door) as caller:
        caller.send(REQUEST)
        until(lambda: proxy.metrics().sum("tulle_requests_in_flight") == 1, "it is served")
        with successor(proxy) as new:
            join(proxy, new)
            until(lambda: new.metrics().sum("tulle_requests_in_flight") == 1, "the other one knows what is in flight")
            hold.let_go()

            assert caller.read()[2] == b"done"
            caller.sock.close()
            assert proxy.process.wait(DEADLINE) == 0
            until(lambda: new.metrics().sum("tulle_requests_in_flight") == 0, "nothing is in flight")
            assert new.metrics().sum(TOTAL) == 1


def test_an_http2_caller_that_has_not_heard_yet_is_served(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    limits = Limits(detect_timeout=DEADLINE)
    proxy.put(one_service({door: Protocol.DETECT}, (host(backends.serve(echo)),), limits=limits))
    with Peer.caller(door) as caller, successor(proxy) as new:
        caller.send(get(1))
        caller.wait(lambda: caller.answers(1), "the first answer")
        with stopped(proxy):
            join(proxy, new)
            caller.send(get(3))
        caller.wait(lambda: caller.answers(3), "an answer to what was on its way")
        assert last_ids(caller) == [MAX_STREAM_ID]
        assert not caller.is_over

        caller.send(get(5) + frame(PING, 1, 0, b"draining"))
        caller.wait(lambda: caller.is_over, "the end, now that it knows")

        assert caller.answers(5)
        assert last_ids(caller) == [MAX_STREAM_ID, 5]
        assert proxy.process.wait(DEADLINE) == 0


def test_an_http2_caller_that_says_nothing_is_left_after_some_seconds(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    limits = Limits(detect_timeout=DEADLINE)
    proxy.put(one_service({door: Protocol.DETECT}, (host(backends.serve(echo)),), limits=limits))
    with Peer.caller(door) as caller, successor(proxy) as new:
        caller.send(get(1))
        caller.wait(lambda: caller.answers(1), "the first answer")
        join(proxy, new)

        assert proxy.process.wait(DEADLINE) == 0
        caller.wait(lambda: caller.is_over, "the end")


def test_what_lasts_is_cut_at_the_deadline(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(mirror)),)))
    with dial(door) as caller, successor(proxy) as new:
        caller.sendall(b"a")
        assert caller.recv(10) == b"a"
        join(proxy, new, 600)
        until(lambda: proxy.get("/status")["draining"], "it drains")
        caller.sendall(b"b")
        assert caller.recv(10) == b"b"
        until(lambda: new.metrics().sum("tulle_connections_open") == 1, "its connection is told by the other one")

        proxy.hand_over("retire", "0.2")

        with pytest.raises(ConnectionResetError):
            caller.recv(10)
        assert proxy.process.wait(DEADLINE) == 0
        until(lambda: new.metrics().sum("tulle_connections_open") == 0, "nothing is open")
        assert new.metrics().sum("tulle_tcp_connections_total", response_class="reset") == 1


def test_a_mesh_that_stops_does_not_wait_for_who_is_idle(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), limits=Limits(drain_timeout=600)))
    with Client(door) as caller, successor(proxy) as new:
        caller.send(REQUEST)
        caller.read()
        join(proxy, new, 600)
        until(lambda: proxy.get("/status")["draining"], "it drains")

        proxy.process.send_signal(signal.SIGTERM)

        assert read_all(caller.sock) == b""
        assert proxy.process.wait(DEADLINE) == 0


def test_counts_go_on_and_only_one_of_two_answers_scrapes(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), policies=(only("GET"),)))
    with Client(door) as caller, Client(door) as other:
        for one in (caller, other):
            one.send(REQUEST)
            one.read()
        other.send(b"DELETE / HTTP/1.1\r\nhost: orders\r\n\r\n")
        assert b" 403 " in other.read()[1]
        until(lambda: scraped(proxy).sum(TOTAL) == 3, "what the old one counted")
        before = scraped(proxy)
        with successor(proxy) as new, socket.create_connection(("127.0.0.1", new.metrics_port), DEADLINE) as early:
            early.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
            early.settimeout(0.2)
            with pytest.raises(TimeoutError):
                early.recv(1)
            join(proxy, new)
            early.settimeout(DEADLINE)
            assert early.recv(12) == b"HTTP/1.1 200"
            with socket.create_connection(("127.0.0.1", proxy.metrics_port), DEADLINE) as late:
                late.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
                late.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    late.recv(1)

            assert scraped(new).sum(TOTAL) == 3
            caller.send(REQUEST)
            caller.read()
            until(lambda: scraped(new).sum(TOTAL) == 4, "what the old one counts while it drains")
            with Client(door) as third:
                third.send(REQUEST)
                third.read()
            until(lambda: scraped(new).sum(TOTAL) == 5, "the sum")
            for one in (caller, other):
                one.sock.close()
            assert proxy.process.wait(DEADLINE) == 0
            until(lambda: scraped(new).sum("tulle_connections_open") == 0, "what was open there is not")

            after = scraped(new)
            assert after.sum(TOTAL) == 5
            assert after.sum("tulle_request_duration_seconds_count") == 5
            assert after.sum("tulle_denied_total") == 1
            assert after.sum("tulle_connections_total") == 3
            assert after.sum("tulle_snapshots_total", result="accepted") == 1
            assert families(before.text) == families(after.text)
            refusals = json.loads(new.ask("GET", "/refusals")[1])
            assert [one["method"] for one in refusals] == ["DELETE"]


def test_a_proxy_that_serves_nobody_ends_at_once_and_leaves_its_counts(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    with Client(door) as caller:
        caller.send(REQUEST)
        caller.read()
    until(lambda: proxy.metrics().sum("tulle_connections_open") == 0, "nobody is there")
    with successor(proxy) as new:
        join(proxy, new)

        assert proxy.process.wait(DEADLINE) == 0
        assert scraped(new).sum(TOTAL) == 1


def test_the_last_word_is_heard_beside_a_question_that_is_not(proxy: Proxy, backends: Backends) -> None:
    """An end with octets unread is a reset, which asyncio tells before what came before it."""
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    ours, theirs = socket.socketpair()
    with ours, Client(door) as caller:
        caller.send(REQUEST)
        caller.read()
        with theirs:
            proxy.hand_over("retire", "600", theirs)
        until(lambda: proxy.get("/status")["draining"], "it drains")
        with stopped(proxy):
            caller.sock.close()
            ours.sendall(b"?" * 1000)
        ours.settimeout(DEADLINE)
        told = b""
        while octets := ours.recv(65536):
            told += octets
            ours.sendall(b"?")  # it is still there: it leaves after us
    words = []
    while told:
        end = 8 + int.from_bytes(told[:8], "big")
        words.append(json.loads(told[8:end]))
        told = told[end:]
    assert [word["links"][0]["open"] for word in (words[0], words[-1])] == [1, 0]
    assert proxy.process.wait(DEADLINE) == 0


def test_a_proxy_killed_in_its_drain_leaves_what_it_had_said(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    with Client(door) as caller, successor(proxy) as new:
        caller.send(REQUEST)
        caller.read()
        join(proxy, new)
        until(lambda: new.metrics().sum(TOTAL) == 1, "what was counted before")

        proxy.process.kill()
        proxy.process.wait(DEADLINE)

        until(lambda: new.metrics().sum("tulle_connections_open") == 0, "it is known to be gone")
        assert scraped(new).sum(TOTAL) == 1


def test_who_goes_on_alone_answers_scrapes(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    with successor(proxy) as new:
        new.hand_over("inherit", "")

        assert scraped(new).sum("tulle_snapshot_generation") == 1


def test_a_policy_reaches_who_drains_and_only_the_other_one_remembers_it(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoints = (host(backends.serve(echo)),)
    proxy.put(one_service({door: Protocol.HTTP}, endpoints))
    with Client(door) as caller, successor(proxy) as new:
        caller.send(REQUEST)
        caller.read()
        join(proxy, new)
        until(lambda: proxy.get("/status")["draining"], "it drains")
        new.put(one_service({door: Protocol.HTTP}, endpoints, generation=2, policies=(only("POST"),)))
        new.put(one_service({door: Protocol.HTTP}, endpoints, generation=3, policies=(only("POST"),)))
        proxy.put(one_service({door: Protocol.HTTP}, endpoints, generation=2, policies=(only("POST"),)))

        caller.send(REQUEST)

        assert b" 403 " in caller.read()[1]
        remembered = SnapshotMemory(proxy.memory).load()
        assert remembered is not None
        assert json.loads(remembered)["generation"] == 3


def test_a_snapshot_of_another_schema_is_waited_for(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    snapshot = one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),))
    older = json.loads(encode_snapshot(snapshot)) | {"schema_version": 0}
    SnapshotMemory(proxy.memory).store(json.dumps(older).encode())
    with Proxy(memory=proxy.memory, options=("--successor",)) as new:
        new.hand_over("door", str(door), proxy.doors[door])
        new.hand_over("synced", "")
        assert word(new) == "waits"
        assert new.get("/ready")["waits_for"] == ["a snapshot"]

        new.put(snapshot)

        assert word(new) == "serving"


def mirror(sock: socket.socket) -> None:
    """Sends back what comes."""
    while octets := sock.recv(65536):
        sock.sendall(octets)


def families(text: str) -> list[str]:
    """Which metrics there are."""
    return [line for line in text.splitlines() if line.startswith("# TYPE ")]
