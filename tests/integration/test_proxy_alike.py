"""Requests that differ only in their query and in plain fields, many on one connection: each goes on, and is told, with its own."""

from __future__ import annotations

import pytest

from tests.support.judge import Judge
from tests.support.proxy_harness import ALLOW_ALL, Backends, Client, Proxy, host, one_service, only, until
from tulle.wire.snapshot import AccessLog, Backend, Policy, Protocol, Route, Snapshot, WeightedBackend

REQUESTS = 40
AGENT = "User-Agent: one that is long enough to make an opening of its own, whatever stands beside it"


def snapshot(door: int, ports: dict[Protocol, int], policy: Policy = ALLOW_ALL) -> Snapshot:
    """One service, whose versions speak these."""
    backends = tuple(
        Backend(name=one, service="default/orders", version=one, protocol=one, endpoints=(host(port),))
        for one, port in ports.items()
    )
    routes = (Route(name="default/orders", backends=tuple(WeightedBackend(backend=one.name) for one in backends)),)
    made = one_service({door: Protocol.HTTP}, (), policies=(policy,), routes=routes, backends=backends)
    given = {name: getattr(made, name) for name in made.__struct_fields__}
    return Snapshot(**given | {"access_log": AccessLog(sample=1.0, query=True)})


@pytest.mark.parametrize(
    "speaks", [(Protocol.HTTP,), (Protocol.HTTP2,), (Protocol.HTTP, Protocol.HTTP2)], ids=["http", "http2", "both"]
)
def test_each_of_many_requests_alike_goes_on_with_its_own_query_and_fields(
    proxy: Proxy, backends: Backends, speaks: tuple[Protocol, ...]
) -> None:
    judge = Judge()
    door = proxy.door()
    serves = {Protocol.HTTP: judge.h1, Protocol.HTTP2: judge.h2}
    proxy.put(snapshot(door, {one: backends.serve(serves[one]) for one in speaks}))
    with Client(door) as client:
        answers = [client.get(f"/a?n={number}", AGENT, f"X-Trace: {number}") for number in range(REQUESTS)]

    assert [status for status, _, _ in answers] == [200] * REQUESTS
    seen = judge.take()
    assert [target for target, _, _ in seen] == [b"/a?n=%d" % number for number in range(REQUESTS)]
    assert [dict(fields)[b"x-trace"] for _, _, fields in seen] == [b"%d" % number for number in range(REQUESTS)]
    assert len({dict(fields)[b"x-request-id"] for _, _, fields in seen}) == REQUESTS
    until(lambda: len(proxy.access_log()) == REQUESTS, "all lines")
    assert [line["path"] for line in proxy.access_log()] == [f"/a?n={number}" for number in range(REQUESTS)]


def test_requests_alike_are_refused_as_soon_as_they_may_not_pass(proxy: Proxy, backends: Backends) -> None:
    judge = Judge()
    door = proxy.door()
    ports = {Protocol.HTTP: backends.serve(judge.h1)}
    statuses = []
    with Client(door) as client:
        for policy in (ALLOW_ALL, only("POST"), ALLOW_ALL):
            proxy.put(snapshot(door, ports, policy))
            statuses.append(
                {client.get(f"/a?n={number}", AGENT, f"X-Trace: {number}")[0] for number in range(REQUESTS)}
            )

    assert statuses == [{200}, {403}, {200}]
    assert len(judge.take()) == 2 * REQUESTS
