"""gRPC through the proxy, grpcio at both ends: every kind of call, every way it ends, each counted once under its status."""

import subprocess
import threading
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.grpc_ends import DEADLINE, Calls, GrpcService, fails
from tests.support.programs import needs
from tests.support.proxy_harness import Client, Proxy, field, host, one_service, only, until
from tests.support.tapping import tapping
from tools.binomial import is_kept
from tulle.wire.snapshot import Backend, Limits, Protocol, Route, WeightedBackend

MEGABYTES = bytes(range(256)) * 4 * 4096
"""Four of them."""


@pytest.fixture
def service() -> Iterator[GrpcService]:
    with GrpcService() as service:
        yield service


@pytest.fixture
def door(proxy: Proxy, service: GrpcService) -> int:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(service.port),)))
    return door


@pytest.fixture
def calls(door: int) -> Iterator[Calls]:
    with Calls(door) as calls:
        yield calls


def ended(proxy: Proxy, status: str) -> int:
    return int(proxy.metrics().sum("tulle_grpc_responses_total", grpc_status=status))


def test_the_four_kinds_of_calls(proxy: Proxy, calls: Calls) -> None:
    assert calls.echo(b"one", timeout=DEADLINE) == b"one"
    assert list(calls.count(b"1000", timeout=DEADLINE)) == [b"%d" % number for number in range(1000)]
    assert calls.sum(iter([b"x" * 1000] * 1000), timeout=DEADLINE) == b"1000000"
    assert list(calls.chat(iter([b"a", b"b", b""]), timeout=DEADLINE)) == [b"a", b"b", b""]
    until(lambda: ended(proxy, "OK") == 4, "all are counted")
    metrics = proxy.metrics()
    labels = {"source": "anonymous", "destination": "default/orders", "protocol": "grpc"}
    assert metrics.sum("tulle_requests_total", response_class="2xx", **labels) == 4
    assert metrics.sum("tulle_request_duration_seconds_count", **labels) == 4
    assert metrics.sum("tulle_request_bytes_total", **labels) > 1_000_000
    assert metrics.sum("tulle_connections_open", protocol="http2") == 1


def test_a_conversation_goes_back_and_forth(calls: Calls) -> None:
    """Each word waits for the answer to the one before: nothing is held back until the request ends."""
    heard: list[bytes] = []

    def words() -> Iterator[bytes]:
        for number in range(100):
            until(lambda: len(heard) == number, "the word before was answered")  # noqa: B023  (called at once)
            yield b"%d" % number

    for word in calls.chat(words(), timeout=DEADLINE):
        heard.append(word)  # noqa: PERF402  (`words` reads it meanwhile)
    assert len(heard) == 100


def test_messages_of_four_megabytes_both_ways(calls: Calls) -> None:
    assert calls.echo(MEGABYTES, timeout=DEADLINE) == MEGABYTES
    assert list(calls.chat(iter([MEGABYTES] * 3), timeout=DEADLINE)) == [MEGABYTES] * 3


def test_two_hundred_streams_at_once(proxy: Proxy, service: GrpcService, door: int) -> None:
    """More than one connection may carry: the channel keeps to the limit, the proxy dials as many as endpoints allow."""
    proxy.put(one_service({door: Protocol.DETECT}, (host(service.port),), generation=2, limits=Limits(streams=200)))
    with Calls(door) as calls:
        held = [calls.wait.future(b"", timeout=DEADLINE) for _ in range(200)]
        for _ in held:
            assert service.waiting.acquire(timeout=DEADLINE)
        assert proxy.metrics().sum("tulle_requests_in_flight") == 200
        for one in held:
            one.cancel()
        for _ in held:
            assert service.ended.acquire(timeout=DEADLINE)
    until(lambda: ended(proxy, "CANCELLED") == 200, "each is counted")
    assert proxy.metrics().sum("tulle_requests_in_flight") == 0
    assert all(one["in_flight"] == 0 for one in proxy.get("/status")["endpoints"])


@pytest.mark.parametrize(
    ("status", "of_class"),
    [
        ("NOT_FOUND", "4xx"),
        ("UNAVAILABLE", "5xx"),
        ("RESOURCE_EXHAUSTED", "4xx"),
        ("UNAUTHENTICATED", "4xx"),
        ("INTERNAL", "5xx"),
    ],
)
def test_a_services_own_status_goes_through_and_is_counted(
    proxy: Proxy, calls: Calls, status: str, of_class: str
) -> None:
    with fails(status) as failure:
        calls.fail(status.encode(), timeout=DEADLINE)
    assert failure.details == "as asked, façon de parler"
    assert failure.trailing == {"why": "asked-for"}
    until(lambda: ended(proxy, status) == 1, "it is counted")
    assert proxy.metrics().sum("tulle_requests_total", protocol="grpc", response_class=of_class) == 1
    assert proxy.metrics().sum("tulle_answers_total") == 0


def test_a_method_that_the_service_lacks_is_its_own_matter(proxy: Proxy, calls: Calls) -> None:
    """Trailers-Only, from the endpoint."""
    with fails("UNIMPLEMENTED") as failure:
        calls.unary("/shop.Orders/Nope")(b"", timeout=DEADLINE)
    assert "x-tulle-reason" not in failure.metadata | failure.trailing
    until(lambda: ended(proxy, "UNIMPLEMENTED") == 1, "it is counted")


def test_a_deadline_ends_the_call_at_both_ends(proxy: Proxy, service: GrpcService, calls: Calls) -> None:
    calls.echo(b"", timeout=DEADLINE)  # so that it is connected, and the deadline that of a call which arrives
    with fails("DEADLINE_EXCEEDED"):
        calls.wait(b"", timeout=1.0)
    assert service.ended.acquire(timeout=DEADLINE)
    until(lambda: ended(proxy, "DEADLINE_EXCEEDED") + ended(proxy, "CANCELLED") == 1, "it is counted")


def test_a_caller_may_say_that_it_waits_longer_than_others(proxy: Proxy, service: GrpcService) -> None:
    door = proxy.door()
    limits = Limits(request_timeout=0.2)
    proxy.put(one_service({door: Protocol.HTTP2}, (host(service.port),), limits=limits))
    with Calls(door) as calls:
        with fails("DEADLINE_EXCEEDED"):
            calls.wait(b"")
        assert proxy.metrics().sum("tulle_answers_total", reason="upstream-timeout") == 1
        with fails("DEADLINE_EXCEEDED"):
            calls.wait(b"", timeout=1.5)
    assert proxy.metrics().sum("tulle_answers_total", reason="upstream-timeout") == 1


def test_a_caller_that_cancels_cancels_at_the_endpoint(proxy: Proxy, service: GrpcService, calls: Calls) -> None:
    held = calls.wait.future(b"")
    assert service.waiting.acquire(timeout=DEADLINE)
    held.cancel()
    assert service.ended.acquire(timeout=DEADLINE)
    stream = calls.drip(b"first")
    assert next(stream) == b"first"
    stream.cancel()
    assert service.ended.acquire(timeout=DEADLINE)
    until(lambda: ended(proxy, "CANCELLED") == 2, "both are counted")
    assert proxy.metrics().sum("tulle_requests_total", response_class="aborted") == 2


def test_own_answers_are_statuses(proxy: Proxy, service: GrpcService) -> None:
    door = proxy.door()
    endpoints = (host(service.port),)
    policies = (only("POST", paths=("/shop.Orders/Echo", "/shop.Orders/Wait")),)
    proxy.put(one_service({door: Protocol.DETECT}, endpoints, policies=policies))
    with Calls(door) as calls:
        assert calls.echo(b"yes", timeout=DEADLINE) == b"yes"
        with fails("PERMISSION_DENIED") as denied:
            calls.sum(iter([b"x" * 100_000]), timeout=DEADLINE)
        assert denied.details.startswith("tulle: denied: ")
        proxy.put(one_service({door: Protocol.DETECT}, endpoints, generation=2, routes=()))
        with fails("UNIMPLEMENTED"):
            calls.echo(b"", timeout=DEADLINE)
        proxy.put(one_service({door: Protocol.DETECT}, (), generation=3))
        with fails("UNAVAILABLE"):
            calls.echo(b"", timeout=DEADLINE)
    metrics = proxy.metrics()
    for status, reason in (
        ("PERMISSION_DENIED", "denied"),
        ("UNIMPLEMENTED", "no-route"),
        ("UNAVAILABLE", "no-healthy-endpoint"),
    ):
        assert metrics.sum("tulle_grpc_responses_total", grpc_status=status) == 1, status
        assert metrics.sum("tulle_answers_total", reason=reason) == 1
    assert service.seen == 1


def test_draining_lets_calls_finish(proxy: Proxy, service: GrpcService, door: int) -> None:
    """The caller learns that it shall go, and what is under way goes on, the stream included."""
    with Calls(door) as calls:
        stream = calls.drip(b"first", timeout=DEADLINE)
        assert next(stream) == b"first"
        held = calls.wait.future(b"", timeout=DEADLINE)
        for _ in range(2):
            assert service.waiting.acquire(timeout=DEADLINE)
        assert proxy.ask("POST", "/drain")[0] == 202
        until(lambda: proxy.get("/status")["draining"], "it drains")
        service.go_on()
        assert held.result() == b""
        assert list(stream) == [b"last"]
        assert proxy.process.wait(DEADLINE) == 0


def test_draining_has_a_deadline(proxy: Proxy, service: GrpcService) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(service.port),), limits=Limits(drain_timeout=0.3)))
    with Calls(door) as calls:
        held = calls.wait.future(b"", timeout=DEADLINE)
        stream = calls.drip(b"first", timeout=DEADLINE)
        assert next(stream) == b"first"
        assert service.waiting.acquire(timeout=DEADLINE)
        assert service.waiting.acquire(timeout=DEADLINE)
        proxy.ask("POST", "/drain")
        with fails("UNAVAILABLE") as failure:
            held.result()
        assert failure.details.startswith("tulle: draining: ")
        with fails("UNAVAILABLE"):
            next(stream)
        assert proxy.process.wait(DEADLINE) == 0


def test_a_new_snapshot_fifty_times_under_load_costs_nothing(proxy: Proxy, service: GrpcService) -> None:
    """Endpoints come and go, so that connections to them are made and retired while streams are open."""
    door = proxy.door()
    with GrpcService() as other:
        shapes = (
            (host(service.port),),
            (host(service.port), host(other.port, "default/other")),
            (host(other.port, "default/other"),),
        )
        proxy.put(one_service({door: Protocol.DETECT}, shapes[0]))
        is_over = threading.Event()
        faults: list[BaseException] = []
        done = [0] * 4

        def load(number: int) -> None:
            try:
                with Calls(door) as calls:
                    while not is_over.is_set():
                        assert calls.echo(b"x" * 100, timeout=DEADLINE) == b"x" * 100
                        assert sum(1 for _ in calls.count(b"20", timeout=DEADLINE)) == 20
                        assert list(calls.chat(iter([b"a", b"b"]), timeout=DEADLINE)) == [b"a", b"b"]
                        done[number] += 3
            except BaseException as fault:
                faults.append(fault)
                raise

        threads = [threading.Thread(target=load, args=(number,)) for number in range(len(done))]
        for thread in threads:
            thread.start()
        for generation in range(2, 52):
            before = min(done)
            proxy.put(one_service({door: Protocol.DETECT}, shapes[generation % 3], generation=generation))
            until(lambda: bool(faults) or min(done) > before, "calls went on")  # noqa: B023  (called at once)
        is_over.set()
        for thread in threads:
            thread.join()
    assert not faults
    until(lambda: ended(proxy, "OK") == sum(done), "all are counted")
    assert proxy.metrics().sum("tulle_requests_total") == sum(done)


def test_weights_hold_for_the_streams_of_one_connection(proxy: Proxy) -> None:
    """A balancer of connections would send all of them to one version."""
    door = proxy.door()
    total = 10_000
    with GrpcService(name="v1") as first, GrpcService(name="v2") as second:
        other = Backend(
            name="default/orders-v2:9000",
            service="default/orders",
            version="v2",
            endpoints=(host(second.port, "default/v2"),),
        )
        shares = (
            WeightedBackend(backend="default/orders:9000", weight=99),
            WeightedBackend(backend=other.name, weight=1),
        )
        route = Route(name="default/orders", backends=shares)
        proxy.put(one_service({door: Protocol.DETECT}, (host(first.port),), routes=(route,), backends=(other,)))
        names: Counter[bytes] = Counter()
        with Calls(door) as calls:

            def seen() -> int:
                """Those of so many calls that v2 answered."""
                before = names.copy()
                held = deque[Any]()
                for _ in range(total):
                    held.append(calls.name.future(b"", timeout=DEADLINE))
                    if len(held) > 100:
                        names[held.popleft().result()] += 1
                names.update(one.result() for one in held)
                assert names.total() - before.total() == total
                return names[b"v2"] - before[b"v2"]

            assert is_kept(seen, total, 0.01)
    assert proxy.metrics().sum("tulle_connections_total", protocol="http2") == 1
    assert proxy.metrics().sum("tulle_grpc_responses_total", version="v2", grpc_status="OK") == names[b"v2"]


def test_tap_shows_calls_with_their_status(proxy: Proxy, calls: Calls) -> None:
    with tapping(proxy) as tap:
        with fails("NOT_FOUND"):
            calls.fail(b"NOT_FOUND", timeout=DEADLINE)
        (summary,) = tap.told()
    assert (summary["protocol"], summary["grpc_status"], summary["class"]) == ("grpc", "NOT_FOUND", "4xx")
    assert summary["path"] == "/shop.Orders/Fail"


@needs("promtool")
def test_the_exposition_of_grpc_passes_promtool(proxy: Proxy, calls: Calls) -> None:
    calls.echo(b"", timeout=DEADLINE)
    with fails("INTERNAL"):
        calls.fail(b"INTERNAL", timeout=DEADLINE)
    until(lambda: ended(proxy, "INTERNAL") == 1, "it is counted")
    text = proxy.metrics().text.encode()
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_plain_http_with_grpcs_content_type_is_answered_in_http(proxy: Proxy, service: GrpcService) -> None:
    """gRPC is HTTP/2: who speaks HTTP/1.1 could not read a status in trailers."""
    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(service.port),), policies=(only("GET"),)))
    with Client(door) as client:
        client.send(b"POST /a/B HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n")
        status, head, _ = client.read()
        assert (status, field(head, "x-tulle-reason"), field(head, "grpc-status")) == (403, "denied", None)
    assert proxy.metrics().sum("tulle_requests_total", protocol="http", response_class="4xx") == 1
    assert proxy.metrics().sum("tulle_grpc_responses_total") == 0
