"""What holds for a request holds for a stream: judged one by one, told, retried, and ended under the policy that let it in."""

import socket

import pytest
from h2.events import DataReceived, Event, RequestReceived, SettingsAcknowledged, StreamEnded

from tests.support.h2_ends import Caller, Endpoint, Talk, answers
from tests.support.proxy_harness import (
    Backends,
    Proxy,
    host,
    one_service,
    only,
    until,
)
from tests.support.tapping import tapping
from tulle.wire.snapshot import Action, Limits, Mode, Policy, Protocol, Rule

NOBODY = Policy(name="default/nobody", action=Action.DENY, rules=(Rule(),))


def echoes(talk: Talk, event: Event) -> None:
    """Begins to answer at once, gives back what comes, and ends with the request."""
    if isinstance(event, RequestReceived):
        talk.head(event.stream_id)
    elif isinstance(event, DataReceived):
        talk.h2.send_data(event.stream_id, event.data)
    elif isinstance(event, StreamEnded):
        talk.h2.end_stream(event.stream_id)


def test_the_streams_of_one_connection_are_judged_one_by_one(proxy: Proxy, backends: Backends) -> None:
    endpoint = Endpoint(answers)
    door = proxy.door()
    policies = (only("GET", paths=("/open",)),)
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(endpoint)),), policies=policies))
    with Caller(door) as caller:
        asked = {
            caller.ask(path, method=method): (method, path) for path in ("/open", "/shut") for method in ("GET", "PUT")
        }
        found = {asked[stream]: caller.end(stream)[":status"] for stream in asked}
    assert found == {("GET", "/open"): "200", ("PUT", "/open"): "403", ("GET", "/shut"): "403", ("PUT", "/shut"): "403"}
    assert len(endpoint.seen(RequestReceived)) == 1
    metrics = proxy.metrics()
    assert metrics.sum("tulle_requests_total", protocol="http2", response_class="4xx") == 3
    assert metrics.sum("tulle_denied_total", reason="denied") == 3


def test_shadow_mode_lets_streams_pass_and_counts_them(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoints = (host(backends.serve(Endpoint(answers))),)
    proxy.put(one_service({door: Protocol.HTTP}, endpoints, policies=(only("PUT"),), mode=Mode.SHADOW))
    with Caller(door) as caller:
        assert [caller.end(caller.ask("/", method="GET"))[":status"] for _ in range(2)] == ["200", "200"]
    assert proxy.metrics().sum("tulle_shadow_denied_total", reason="denied") == 2
    assert proxy.metrics().sum("tulle_denied_total") == 0


def test_a_stream_ends_under_the_policy_that_let_it_in(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoints = (host(backends.serve(Endpoint(echoes))),)
    proxy.put(one_service({door: Protocol.HTTP}, endpoints))
    with Caller(door) as caller:
        stream = caller.ask("/", body=None)
        with caller.saying() as h2:
            h2.send_data(stream, b"before ")
        caller.wait(lambda: caller.body(stream) == b"before ", "it comes back")
        proxy.put(one_service({door: Protocol.HTTP}, endpoints, generation=2, policies=(NOBODY,)))
        assert caller.end(caller.ask("/"))[":status"] == "403", "the next one is judged anew"
        with caller.saying() as h2:
            h2.send_data(stream, b"after", end_stream=True)
        assert caller.end(stream)[":status"] == "200"
        assert caller.body(stream) == b"before after"


def test_another_endpoint_is_tried_when_one_refuses(proxy: Proxy, backends: Backends) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = int(closed.getsockname()[1])
    door = proxy.door()
    endpoint = Endpoint(answers)
    proxy.put(one_service({door: Protocol.HTTP}, (host(port, "default/gone"), host(backends.serve(endpoint)))))
    with Caller(door) as caller:
        streams = [caller.ask("/", body=b"x" * 1000) for _ in range(40)]
        assert {caller.end(stream)[":status"] for stream in streams} == {"200"}
    assert [len(event.data) for event in endpoint.seen(DataReceived)] == [1000] * 40
    metrics = proxy.metrics()
    assert metrics.sum("tulle_retries_total", cause="connect") > 0
    assert metrics.sum("tulle_requests_total", protocol="http2", response_class="2xx") == 40


def test_a_stream_is_told_and_its_refusal_found_by_its_id(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoints = (host(backends.serve(Endpoint(answers))),)
    proxy.put(one_service({door: Protocol.HTTP}, endpoints, generation=7, policies=(only("GET"),)))
    with tapping(proxy) as tap:
        with Caller(door) as caller:
            assert caller.end(caller.ask("/a/b?q", method="GET"))[":status"] == "200"
            refused = caller.end(caller.ask("/a/b?q", method="DELETE"))
        first, second = tap.told(2)
    assert [first[name] for name in ("protocol", "method", "path", "status", "class")] == [
        "http2", "GET", "/a/b", 200, "2xx",
    ]  # fmt: skip
    assert (second["protocol"], second["status"], second["reason"]) == ("http2", 403, "denied")
    (one,) = proxy.get(f"/refusals?id={refused['x-request-id']}")
    assert one.pop("time") > 0
    assert one.pop("trace") == second["trace"]
    assert one == {
        "id": refused["x-request-id"], "generation": 7, "source": "anonymous", "pod": "", "destination": "default/orders",
        "port": 8001, "method": "DELETE", "host": "orders", "path": "/a/b", "reason": "denied", "policy": "",
    }  # fmt: skip


@pytest.mark.parametrize(("stream_window", "connection_window"), [(65_535, 65_535), (1 << 20, 3 << 20)])
def test_a_new_connection_has_the_windows_and_streams_of_the_snapshot(
    proxy: Proxy, backends: Backends, stream_window: int, connection_window: int
) -> None:
    door = proxy.door()
    limits = Limits(streams=7, stream_window=stream_window, connection_window=connection_window)
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(Endpoint(answers))),), limits=limits))
    with Caller(door) as caller:
        caller.wait(
            lambda: any(isinstance(one, SettingsAcknowledged) for one in caller.events), "both have said theirs"
        )
        assert caller.end(caller.ask("/"))[":status"] == "200"
        assert caller.h2.remote_settings.max_concurrent_streams == 7
        assert caller.h2.remote_settings.initial_window_size == stream_window
        assert caller.h2.outbound_flow_control_window == connection_window
    until(lambda: proxy.metrics().sum("tulle_connections_open") == 0, "it is closed")
