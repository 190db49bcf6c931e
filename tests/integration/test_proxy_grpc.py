"""gRPC through the proxy, grpcio at both ends: every kind of call, every way it ends, each counted once under its status."""

from collections.abc import Iterator

import pytest

from tests.support.grpc_ends import DEADLINE, Calls, GrpcService, fails
from tests.support.proxy_harness import Proxy, host, one_service, only, until
from tulle.wire.snapshot import Limits, Protocol

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
        heard.append(word)
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
        assert calls.echo.future
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
    with fails("DEADLINE_EXCEEDED"):
        calls.wait(b"", timeout=0.3)
    assert service.ended.acquire(timeout=DEADLINE)
    until(lambda: ended(proxy, "DEADLINE_EXCEEDED") + ended(proxy, "CANCELLED") == 1, "it is counted")


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
