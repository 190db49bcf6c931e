"""A mesh that works for long weighs no more."""

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.proxy_harness import backend_and_pid
from tests.support.running import Door, Running, free_ports, load_from_outside, peer, running, running_example
from tests.support.soak import soak
from tools.load import Order
from tools.ports import free_port

REQUESTS = int(os.environ.get("TULLE_SOAK", "1_000_000"))
"""A million finds a small object kept by one request in forty, 100 000 by one in four."""
MEGABYTE = 1024 * 1024
pytestmark = [pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def door() -> int:
    return free_port()


@pytest.fixture(scope="module")
def mesh(door: int) -> Iterator[Running]:
    text = f"""
mesh: memory
services:
  web:
    run: {peer("web")}
    port: 8080
    expose: {door}
    allow: [{{methods: [GET]}}]
"""
    with running("memory", text) as one:
        yield one


@pytest.fixture
def shop() -> Iterator[Running]:
    """The example that the demo runs, after as many requests as some seconds of it."""
    ports = free_ports(18080)
    with running_example("shop", ports) as one:
        report = Door(ports[18080]).drive("/", connections=32, count=10_000)
        assert (report.answered, report.failed) == (10_000, 0)
        yield one


def test_the_shop_weighs_what_it_may(shop: Running) -> None:
    """Before the other mesh is there: what two of them share would count half."""
    weighed = shop.processes.footprint()

    assert weighed.rss("proxy") <= 25 * MEGABYTE
    assert weighed.rss("agent") <= 27 * MEGABYTE
    assert weighed.rss("supervisor") <= 14.5 * MEGABYTE
    roles = Counter(one.role for one in weighed.processes)
    assert roles == {"supervisor": 1, "stem": 1, "broker": 1, "agent": 1, "proxy": 1, "pod init": 5}
    assert weighed.unreadable == 0 or os.getuid() != 0, "root can read all"
    assert weighed.pss <= 58 * MEGABYTE


def test_proxy_and_agent_do_not_grow_with_requests(mesh: Running, door: int) -> None:
    url = Door(door).url + "/"
    pids = {role: mesh.processes.pid(role) for role in ("proxy", "agent")}

    with load_from_outside(url, rate=50, connections=8, keep_alive=False) as anew:
        soaked = soak(Order(url, connections=32, count=REQUESTS), pids, each_second=mesh.series)

    print(f"{REQUESTS} requests in {soaked.seconds:.0f} s; grown by {soaked.grown} octets")  # noqa: T201
    assert (soaked.answered, soaked.failed, anew.failed) == (REQUESTS, 0, 0)
    assert all(growth < MEGABYTE for growth in soaked.grown.values()), soaked.grown


@pytest.mark.parametrize(("path", "leaks"), [("/", False), ("/leak", True)])
def test_a_hundred_octets_kept_of_each_request_are_seen(path: str, leaks: bool) -> None:
    with backend_and_pid("any") as (port, pid):
        soaked = soak(Order(f"http://127.0.0.1:{port}{path}", count=20_000), {"backend": pid})

    assert (soaked.answered, soaked.failed) == (20_000, 0)
    assert (soaked.grown["backend"] > MEGABYTE) is leaks, soaked.grown
