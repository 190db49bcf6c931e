"""Endpoints that refuse streams, leave, break off or say nothing; by PyPI's `h2` at both ends."""

import socket
import time

import pytest
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from hyperframe.frame import GoAwayFrame

from tests.support.h2_ends import Caller, Endpoint, Talk, answers
from tests.support.proxy_harness import Backends, Proxy, host, one_service, until
from tulle.wire.snapshot import Limits, Protocol

BODY = b"\0\0\0\x27\x10" + bytes(10_000)


def serve(proxy: Proxy, backends: Backends, endpoint: Endpoint, limits: Limits | None = None) -> int:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(backends.serve(endpoint)),), limits=limits))
    return door


def refuse_first(times: int) -> Endpoint:
    left = [times]

    def react(talk: Talk, event: Event) -> None:
        if isinstance(event, StreamEnded):
            if left[0]:
                left[0] -= 1
                talk.h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            else:
                talk.answer(event.stream_id)

    return Endpoint(react)


def test_a_refused_stream_is_asked_once_more_with_its_body(proxy: Proxy, backends: Backends) -> None:
    endpoint = refuse_first(1)
    with Caller(serve(proxy, backends, endpoint)) as caller:
        stream = caller.call(body=BODY)
        assert caller.end(stream)["grpc-status"] == "0"
        assert caller.body(stream) == b"yes"
    received = b"".join(event.data for event in endpoint.seen(DataReceived))
    assert received == BODY * 2
    assert proxy.metrics().sum("tulle_retries_total", cause="refused") == 1
    assert proxy.metrics().sum("tulle_requests_total") == 1


def test_a_stream_that_is_refused_again_is_given_up(proxy: Proxy, backends: Backends) -> None:
    with Caller(serve(proxy, backends, refuse_first(2))) as caller:
        found = caller.end(caller.call(body=BODY))
        assert (found["grpc-status"], found["x-tulle-reason"]) == ("14", "upstream-reset")
    assert proxy.metrics().sum("tulle_retries_total", cause="refused") == 1
    assert proxy.metrics().sum("tulle_grpc_responses_total", grpc_status="UNAVAILABLE") == 1


def test_a_refusal_after_the_answer_began_is_no_refusal(proxy: Proxy, backends: Backends) -> None:
    def react(talk: Talk, event: Event) -> None:
        if isinstance(event, StreamEnded):
            talk.head(event.stream_id, ("content-type", "application/grpc"))
            talk.h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)

    with Caller(serve(proxy, backends, Endpoint(react))) as caller:
        stream = caller.call()
        assert caller.end(stream)["grpc-status"] == "14"
        assert len(caller.of(stream, ResponseReceived)) == 1
        plain = caller.ask("/", method="GET")
        assert caller.end(plain)["rst"] == str(int(ErrorCodes.INTERNAL_ERROR)), "a caller may not take it for unseen"
    assert proxy.metrics().sum("tulle_retries_total") == 0
    assert proxy.metrics().sum("tulle_requests_total", response_class="truncated") == 2


def test_who_waits_for_settings_is_not_forgotten_when_none_come(proxy: Proxy, backends: Backends) -> None:
    """An endpoint that accepts, says nothing and leaves: all of a burst are answered, those not sent yet too."""

    def leave(sock: socket.socket) -> None:
        sock.recv(65536)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(backends.serve(leave)),)))
    with Caller(door) as caller:
        streams = [caller.call() for _ in range(40)]
        assert {caller.end(stream)["grpc-status"] for stream in streams} == {"14"}
    assert proxy.metrics().sum("tulle_requests_in_flight") == 0


def test_streams_beyond_a_goaway_go_elsewhere(proxy: Proxy, backends: Backends) -> None:
    """The first connection takes the first of three streams and leaves."""

    def react(talk: Talk, event: Event) -> None:
        if talk.number:
            answers(talk, event)
        elif isinstance(event, StreamEnded) and len(talk.asked) == 3:
            talk.answer(talk.asked[0], b"first")
            talk.flush()
            talk.sock.sendall(GoAwayFrame(0, last_stream_id=talk.asked[0]).serialize())

    endpoint = Endpoint(react)
    with Caller(serve(proxy, backends, endpoint)) as caller:
        streams = [caller.call(body=BODY) for _ in range(3)]
        assert [caller.end(stream)["grpc-status"] for stream in streams] == ["0"] * 3
        assert sorted(caller.body(stream) for stream in streams) == [b"first", b"yes", b"yes"]
    assert [len(talk.asked) for talk in endpoint.talks] == [3, 2]
    assert proxy.metrics().sum("tulle_retries_total", cause="refused") == 2


def test_a_kept_connection_that_left_in_silence_is_noticed(proxy: Proxy, backends: Backends) -> None:
    gone: list[socket.socket] = []

    def react(talk: Talk, event: Event) -> None:
        answers(talk, event)
        if isinstance(event, StreamEnded) and talk.number == 0:
            gone.append(talk.sock)

    with Caller(serve(proxy, backends, Endpoint(react))) as caller:
        assert caller.end(caller.call())["grpc-status"] == "0"
        gone[0].shutdown(socket.SHUT_RDWR)
        until(lambda: proxy.metrics().sum("tulle_upstream_connections_open") == 0, "the proxy noticed")
        assert caller.end(caller.call())["grpc-status"] == "0"


def forgetful(talk: Talk, event: Event) -> bool:
    """One answer per connection; leaves without a word when the next request comes."""
    if isinstance(event, RequestReceived) and len(talk.asked) > 1:
        return False
    answers(talk, event)
    return True


def test_a_stale_connection_costs_what_may_be_repeated_nothing(proxy: Proxy, backends: Backends) -> None:
    with Caller(serve(proxy, backends, Endpoint(forgetful))) as caller:
        for _ in range(3):
            assert caller.end(caller.ask("/", method="GET"))[":status"] == "200"
        assert caller.end(caller.call())["grpc-status"] == "14"
    assert proxy.metrics().sum("tulle_retries_total", cause="stale") == 2


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCodes.NO_ERROR, "13"),
        (ErrorCodes.INTERNAL_ERROR, "13"),
        (ErrorCodes.CANCEL, "1"),
        (ErrorCodes.ENHANCE_YOUR_CALM, "8"),
        (ErrorCodes.INADEQUATE_SECURITY, "7"),
    ],
)
@pytest.mark.parametrize("has_begun", [False, True])
def test_an_endpoints_reset_reaches_a_grpc_caller_as_its_status(
    proxy: Proxy, backends: Backends, code: ErrorCodes, status: str, has_begun: bool
) -> None:
    def react(talk: Talk, event: Event) -> None:
        if isinstance(event, StreamEnded):
            if has_begun:
                talk.head(event.stream_id, ("content-type", "application/grpc"))
            talk.h2.reset_stream(event.stream_id, code)

    with Caller(serve(proxy, backends, Endpoint(react))) as caller:
        found = caller.end(caller.call())
        assert (found[":status"], found["grpc-status"]) == ("200", status)
        assert found["grpc-message"].startswith("tulle: upstream-reset: ")
    of_class = "truncated" if has_begun else "5xx"
    assert proxy.metrics().sum("tulle_requests_total", protocol="grpc", response_class=of_class) == 1


def test_an_endpoints_reset_within_an_answer_keeps_its_code(proxy: Proxy, backends: Backends) -> None:
    def react(talk: Talk, event: Event) -> None:
        if isinstance(event, StreamEnded):
            talk.head(event.stream_id)
            talk.h2.reset_stream(event.stream_id, ErrorCodes.CANCEL)

    with Caller(serve(proxy, backends, Endpoint(react))) as caller:
        assert caller.end(caller.ask("/", method="GET"))["rst"] == str(int(ErrorCodes.CANCEL))


def silent(talk: Talk, event: Event) -> None:
    """Reads, answers PINGs, and nothing else."""


def begins(talk: Talk, event: Event) -> None:
    """Begins to answer."""
    if isinstance(event, RequestReceived):
        talk.head(event.stream_id, ("content-type", "application/grpc"))


@pytest.mark.parametrize("react", [silent, begins])
def test_a_deadline_ends_the_call_on_time_towards_both_sides(proxy: Proxy, backends: Backends, react: object) -> None:
    """The caller here only says its deadline and never cancels. A wheel's revolution would be seconds late."""
    endpoint = Endpoint(silent if react is silent else begins)
    with Caller(serve(proxy, backends, endpoint)) as caller:
        began = time.monotonic()
        found = caller.end(caller.call("/shop.Orders/Chat", ("grpc-timeout", "300m"), body=None))
        seconds = time.monotonic() - began
        assert found["grpc-status"] == "4"
        assert 0.25 < seconds < 2.5
        until(lambda: bool(endpoint.seen(StreamReset)), "the endpoint is told")
        assert endpoint.seen(StreamReset)[0].error_code is ErrorCodes.CANCEL
    assert proxy.metrics().sum("tulle_grpc_responses_total", grpc_status="DEADLINE_EXCEEDED") == 1


def test_a_deadline_of_hours_is_only_forwarded(proxy: Proxy, backends: Backends) -> None:
    endpoint = Endpoint(answers)
    with Caller(serve(proxy, backends, endpoint)) as caller:
        assert caller.end(caller.call("/a/B", ("grpc-timeout", "99999999H")))["grpc-status"] == "0"
    assert (b"grpc-timeout", b"99999999H") in [
        (bytes(n), bytes(v)) for n, v in endpoint.seen(RequestReceived)[0].headers
    ]


@pytest.mark.parametrize("value", ["5", "1.5S", "-1S", "100000000n", "5s"])
def test_a_malformed_deadline_is_refused(proxy: Proxy, backends: Backends, value: str) -> None:
    endpoint = Endpoint(answers)
    with Caller(serve(proxy, backends, endpoint)) as caller:
        found = caller.end(caller.call("/a/B", ("grpc-timeout", value)))
        assert (found["grpc-status"], found["x-tulle-reason"]) == ("13", "bad-request")
        plain = caller.ask("/", ("grpc-timeout", value))
        assert caller.end(plain)[":status"] == "200", "to others it is a field like any"
    assert len(endpoint.seen(RequestReceived)) == 1


@pytest.mark.parametrize(
    ("fields", "path", "status", "reason"),
    [
        ([(f"x-{number}", "v" * 300) for number in range(30)], "/a/B", "8", "head-too-large"),
        ([(f"x-{number}", "v") for number in range(100)], "/a/B", "8", "head-too-large"),
        ([], "/a/" + "B" * 3000, "13", "target-too-long"),
    ],
    ids=["octets", "count", "target"],
)
def test_a_head_beyond_the_limits_is_told_in_the_callers_words(
    proxy: Proxy, backends: Backends, fields: list[tuple[str, str]], path: str, status: str, reason: str
) -> None:
    limits = Limits(header_bytes=8000, header_count=64, target_bytes=2000)
    with Caller(serve(proxy, backends, Endpoint(answers), limits)) as caller:
        found = caller.end(caller.call(path, *fields))
        assert (found[":status"], found["grpc-status"], found["x-tulle-reason"]) == ("200", status, reason)
        plain = caller.ask(path, *fields)
        assert caller.end(plain)[":status"] in ("431", "414")
        assert caller.end(caller.call())["grpc-status"] == "0", "the connection goes on"
    metrics = proxy.metrics()
    assert metrics.sum("tulle_grpc_responses_total") == 2
    assert metrics.sum("tulle_requests_total", protocol="http2", response_class="4xx") == 1


def test_a_refused_head_is_no_reason_for_a_body_behind_what_answers_head(proxy: Proxy, backends: Backends) -> None:
    limits = Limits(header_count=64, target_bytes=2000)
    with Caller(serve(proxy, backends, Endpoint(answers), limits)) as caller:
        for path, count, status in (("/a", 100, "431"), ("/" + "a" * 3000, 0, "414")):
            stream = caller.ask(path, *[(f"x-{number}", "v") for number in range(count)], method="HEAD")
            found = caller.end(stream)
            assert (found[":status"], caller.body(stream)) == (status, b"")
            assert int(found["content-length"]) > 0
        assert caller.end(caller.call())["grpc-status"] == "0", "the connection goes on"


def test_a_caller_that_resets_resets_at_the_endpoint(proxy: Proxy, backends: Backends) -> None:
    endpoint = Endpoint(silent)
    with Caller(serve(proxy, backends, endpoint)) as caller:
        stream = caller.call(body=None)
        until(lambda: bool(endpoint.seen(RequestReceived)), "the endpoint has the call")
        with caller.saying() as h2:
            h2.reset_stream(stream, ErrorCodes.CANCEL)
        until(lambda: bool(endpoint.seen(StreamReset)), "the endpoint is told")
        assert endpoint.seen(StreamReset)[0].error_code is ErrorCodes.CANCEL
        until(lambda: proxy.metrics().sum("tulle_grpc_responses_total", grpc_status="CANCELLED") == 1, "it is counted")


def test_a_dead_connection_is_left_after_the_first_call_it_cost(proxy: Proxy, backends: Backends) -> None:
    """It takes octets and says nothing, not even to a PING: as a host that lost its power."""

    class Half(Endpoint):
        def __call__(self, sock: socket.socket) -> None:
            if backends.connections > 1:
                super().__call__(sock)
            while sock.recv(65536):
                pass

    endpoint = Half(answers)
    with Caller(serve(proxy, backends, endpoint, Limits(connect_timeout=1.0))) as caller:
        assert caller.end(caller.call("/a/B", ("grpc-timeout", "200m")))["grpc-status"] == "4"
        until(lambda: proxy.metrics().sum("tulle_upstream_connections_open") == 0, "it is left")
        assert caller.end(caller.call())["grpc-status"] == "0"


def test_an_endpoint_that_is_slow_but_alive_keeps_its_connection(proxy: Proxy, backends: Backends) -> None:
    endpoint = Endpoint(lambda talk, event: answers(talk, event) if len(talk.asked) > 1 else None)
    with Caller(serve(proxy, backends, endpoint, Limits(connect_timeout=1.0))) as caller:
        assert caller.end(caller.call("/a/B", ("grpc-timeout", "200m")))["grpc-status"] == "4"
        until(lambda: proxy.metrics().sum("tulle_requests_in_flight") == 0, "it is over")
        for _ in range(3):
            assert caller.end(caller.call("/a/B", ("grpc-timeout", "10S")))["grpc-status"] == "0"
    assert len(endpoint.talks) == 1


def test_a_silent_endpoint_ends_by_the_limit(proxy: Proxy, backends: Backends) -> None:
    door = serve(proxy, backends, Endpoint(silent), Limits(request_timeout=0.3))
    with Caller(door) as caller:
        found = caller.end(caller.call())
        assert (found["grpc-status"], found["x-tulle-reason"]) == ("4", "upstream-timeout")


def test_streams_beyond_the_limit_are_refused_and_counted(proxy: Proxy, backends: Backends) -> None:
    with Caller(serve(proxy, backends, Endpoint(silent), Limits(streams=4))) as caller:
        caller.wait(lambda: any(isinstance(one, RemoteSettingsChanged) for one in caller.events), "SETTINGS")
        streams = [caller.call(body=None) for _ in range(4)]
        until(lambda: proxy.metrics().sum("tulle_requests_in_flight") == 4, "they are under way")
        caller.h2.remote_settings.max_concurrent_streams = 100
        caller.h2.remote_settings.acknowledge()
        beyond = [caller.call(body=None) for _ in range(3)]
        assert [caller.end(stream)["rst"] for stream in beyond] == [str(int(ErrorCodes.REFUSED_STREAM))] * 3
        assert not caller.of(streams[0], StreamReset)
    metrics = proxy.metrics()
    assert metrics.sum("tulle_streams_refused_total", source="anonymous", destination="default/orders") == 3
    assert metrics.sum("tulle_requests_total", protocol="http2") == 0


def test_a_ping_is_answered(proxy: Proxy, backends: Backends) -> None:
    with Caller(serve(proxy, backends, Endpoint(answers))) as caller:
        with caller.saying() as h2:
            h2.ping(b"12345678")
        caller.wait(lambda: any(isinstance(one, PingAckReceived) for one in caller.events), "PING is answered")


def test_an_idle_connection_is_closed(proxy: Proxy, backends: Backends) -> None:
    with Caller(serve(proxy, backends, Endpoint(answers), Limits(idle_timeout=1.0))) as caller:
        assert caller.end(caller.call())["grpc-status"] == "0"
        caller.wait(caller.is_told_to_go, "GOAWAY")
    until(lambda: proxy.metrics().sum("tulle_connections_open") == 0, "it is closed")
