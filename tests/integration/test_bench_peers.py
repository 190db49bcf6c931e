"""That the programs which the bench compares do the same work: who has policies refuses, who has none relays everything."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.case import Bench
from benchmarks.peers import start_peers
from benchmarks.process import Lacking, Target
from benchmarks.traffic import Traffic, calls, requests

SOURCES = Path(__file__).resolve().parent.parent.parent / "src"
WITHOUT_POLICY = ("pump", "envoy-routing")
REQUESTS = 2000
"""Of which 20 go to the second version; that none does happens once in half a billion times."""
WITH_POLICY = ("haproxy", "nginx", "envoy", "tulle-interpreted")


@pytest.fixture
def started() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, SOURCES, SOURCES)


def peer(bench: Bench, started: ExitStack, traffic: Traffic, name: str) -> Target:
    targets = start_peers(bench, started, traffic, (name,))
    if not targets:
        pytest.skip(bench.skipped[f"{traffic.name} {name}"])
    return targets[0]


def web(bench: Bench, started: ExitStack) -> Traffic:
    try:
        return requests(started, bench.work, 1)
    except Lacking as lack:
        pytest.skip(str(lack))


def status(target: Target, method: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10)
    try:
        connection.request(method, path, headers={"Host": "orders"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("name", WITH_POLICY)
def test_policy_allows_by_method_and_path_and_nothing_else(bench: Bench, started: ExitStack, name: str) -> None:
    target = peer(bench, started, web(bench, started), name)

    assert status(target, "GET", "/orders/1") == 200
    assert status(target, "POST", "/orders/1") == 200
    assert status(target, "DELETE", "/orders/1") == 403
    assert status(target, "GET", "/elsewhere") == 403


@pytest.mark.parametrize("name", WITHOUT_POLICY)
def test_floor_and_routing_alone_judge_nothing(bench: Bench, started: ExitStack, name: str) -> None:
    target = peer(bench, started, web(bench, started), name)

    assert status(target, "DELETE", "/elsewhere") == 200


@pytest.mark.parametrize("name", WITH_POLICY)
def test_second_version_has_about_one_request_in_a_hundred(bench: Bench, started: ExitStack, name: str) -> None:
    target = peer(bench, started, web(bench, started), name)

    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10)
    started.callback(connection.close)
    second = 0
    for number in range(REQUESTS):
        connection.request("GET", f"/orders/1?page={number}", headers={"Host": "orders"})
        second += b'"v2"' in connection.getresponse().read()

    assert 0 < second < REQUESTS // 20


@pytest.mark.parametrize("name", WITH_POLICY)
def test_calls_come_through_whole(bench: Bench, started: ExitStack, name: str) -> None:
    try:
        traffic = calls(started, bench.work)
    except Lacking as lack:
        pytest.skip(str(lack))
    target = peer(bench, started, traffic, name)

    load = traffic.drive(target.port, "differ", 1, 1.0)

    assert (load.failed, load.requests > 0) == (0, True)


def test_proxy_that_does_not_serve_is_a_fault_and_no_lack(bench: Bench, started: ExitStack) -> None:
    """Or a bench without Tulle would end well."""
    traffic = web(bench, started)
    package = bench.work / "broken" / "tulle"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    bench.compiled = package.parent

    targets = start_peers(bench, started, traffic, ("direct", "tulle"))

    assert [target.name for target in targets] == ["direct"]
    assert bench.broken == ["http1 tulle"]
    assert "No module named" in bench.skipped["http1 tulle"]
