"""A snapshot of a large mesh is made ready beside the traffic, whole or not at all, one after another."""

import fcntl
import json
import signal
import socket
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from tests.support.proxy_harness import (
    ALLOW_ALL,
    DEADLINE,
    Backends,
    Client,
    Proxy,
    backend_process,
    echo,
    host,
    one_service,
    stopped,
    until,
)
from tulle.wire.snapshot import (
    Action,
    Backend,
    Operation,
    Policy,
    Protocol,
    Rule,
    Service,
    ServicePort,
    Snapshot,
    encode_snapshot,
)

POLICIES = 10_000
GET = b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n"


def large(small: Snapshot, generation: int) -> Snapshot:
    """With a few thousand policies and services that nobody calls; what is called denies."""
    others = tuple(
        Policy(
            name=f"far/{generation}-{number}",
            action=Action.ALLOW,
            rules=(Rule(operations=(Operation(methods=("GET",), paths=(f"/{number}/*",)),)),),
        )
        for number in range(POLICIES)
    )
    services = tuple(
        Service(
            name=f"far/{number}",
            address=f"127.80.{1 + number // 250}.{number % 250}",
            ports=(ServicePort(port=80, target_port=80),),
            policies=(others[number].name,),
        )
        for number in range(500)
    )
    closed = Policy(name=ALLOW_ALL.name, action=Action.DENY, rules=(Rule(),))
    return replace(
        small, generation=generation, services=(*small.services, *services), policies=(closed, *others[::-1])
    )


class Put:
    """A snapshot on its way to the proxy: all of it but the last octet is there."""

    def __init__(self, proxy: Proxy, text: bytes) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(DEADLINE)
        self._sock.connect(str(proxy.admin_path))
        self._sock.sendall(
            b"PUT /snapshot HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text[:-1])
        )
        self._last = text[-1:]
        until(self._is_read, "the proxy has read it")
        proxy.get("/live")  # and has asked the kernel again since: what comes next it hears in the order it comes

    def _is_read(self) -> bool:
        left = fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4))
        return not any(left)

    def finish(self) -> None:
        """Sends the last octet."""
        self._sock.sendall(self._last)

    def close(self) -> None:
        """Hears no answer."""
        self._sock.close()

    def answer(self) -> tuple[int, dict[str, object]]:
        """Status and what it says."""
        with Client(self._sock) as client:
            status, _, body = client.read()
            return status, json.loads(body)


@contextmanager
def calls(door: int) -> Iterator[list[int]]:
    """The statuses that a caller gets who asks again and again, as they come."""
    statuses: list[int] = []
    ends = threading.Event()

    def ask() -> None:
        with Client(door) as client:
            while not ends.is_set():
                statuses.append(client.get()[0])

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        ends.set()
        thread.join(DEADLINE)


@pytest.fixture
def small(proxy: Proxy) -> Iterator[Snapshot]:
    with backend_process("v1") as port:
        snapshot = one_service({proxy.door(): Protocol.HTTP}, (host(port),))
        proxy.put(snapshot)
        yield snapshot


def test_requests_are_answered_by_the_old_one_until_the_new_one_is_ready(proxy: Proxy, small: Snapshot) -> None:
    (door,) = proxy.doors
    put = Put(proxy, encode_snapshot(large(small, 2)))
    with calls(door) as statuses, Client(door) as other:
        until(lambda: len(statuses) > 20, "requests are answered")
        with stopped(proxy):
            put.finish()
            other.send(GET * 20)  # all there: each goes on as soon as the one before is answered
        others = [other.read()[0] for _ in range(20)]
        status, said = put.answer()
        until(lambda: statuses[-1:] == [403], "the new one is in force")
    assert (status, said) == (200, {"generation": 2})
    for seen in statuses, [*others, 403]:
        first = seen.index(403)
        assert set(seen[:first]) == {200}
        assert set(seen[first:]) == {403}
    assert others[:4] == [200] * 4


def test_one_broken_policy_among_thousands_changes_nothing(proxy: Proxy, small: Snapshot) -> None:
    (door,) = proxy.doors
    text = encode_snapshot(large(small, 2))
    at = text.rindex(b'"ALLOW"')
    put = Put(proxy, text[:at] + b'"ASK"' + text[at + 7 :])
    with calls(door) as statuses:
        put.finish()
        status, said = put.answer()
        before = len(statuses)
        until(lambda: len(statuses) > before + 20, "requests are answered")
    assert status == 400
    assert said == {"error": "Invalid enum value 'ASK' - at `$.policies[10000].action`"}
    assert set(statuses) == {200}
    assert proxy.ask("GET", "/snapshot") == (200, encode_snapshot(small))
    assert proxy.get("/status")["generation"] == 1


def test_one_that_comes_while_another_is_made_ready_waits_for_it(proxy: Proxy, small: Snapshot) -> None:
    text = encode_snapshot(replace(small, generation=3))
    first, second = Put(proxy, encode_snapshot(large(small, 2))), Put(proxy, text)
    answered: list[int] = []

    def wait(put: Put) -> None:
        status, said = put.answer()
        assert status == 200
        answered.append(int(str(said["generation"])))

    with stopped(proxy):
        first.finish()
        second.finish()
    threads = [threading.Thread(target=wait, args=(put,)) for put in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(answered) == [2, 3]
    assert proxy.get("/status")["generation"] == 3
    assert proxy.ask("GET", "/snapshot") == (200, text)


def test_a_refused_one_does_not_keep_the_next_from_coming(proxy: Proxy, small: Snapshot) -> None:
    broken, whole = (
        Put(proxy, encode_snapshot(large(small, 2))[:-1] + b"!"),
        Put(proxy, encode_snapshot(large(small, 3))),
    )
    with stopped(proxy):
        broken.finish()
        whole.finish()
    assert broken.answer()[0] == 400
    assert whole.answer() == (200, {"generation": 3})


def test_a_service_that_is_called_is_judged_by_all_its_policies_after_many_swaps(
    proxy: Proxy, backends: Backends
) -> None:
    door = proxy.door()
    endpoints = (host(backends.serve(echo)),)
    with Client(door) as client:
        for generation in range(1, 9):
            deny = Policy(
                name="default/deny",
                action=Action.DENY,
                rules=(Rule(operations=(Operation(paths=(f"/{generation % 2}/*",)),)),),
            )
            version = Backend(name="default/other:9000", service="default/orders", version=f"v{generation % 3}")
            proxy.put(
                one_service(
                    {door: Protocol.HTTP},
                    endpoints,
                    generation=generation,
                    policies=(ALLOW_ALL, deny),
                    backends=(version,),
                )
            )
            assert [client.get(f"/{half}/x")[0] for half in (0, 1)] == ([200, 403] if generation % 2 else [403, 200])


def test_a_proxy_ends_in_the_middle_of_a_snapshot(proxy: Proxy, small: Snapshot) -> None:
    put = Put(proxy, encode_snapshot(large(small, 2)))
    with stopped(proxy):
        put.finish()
        proxy.process.send_signal(signal.SIGTERM)
    assert proxy.process.wait(DEADLINE) == 0
    put.close()
