"""A mesh that works for long weighs no more: 100 000 requests in every run, 1 000 000 with TULLE_SOAK=1."""

import os
from collections.abc import Iterator

import pytest

from tests.support.processes import free_port
from tests.support.running import Door, Running, peer, running
from tools.footprint import rss
from tools.load import Load, Order, Report

REQUESTS = 1_000_000 if os.environ.get("TULLE_SOAK") else 100_000
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


def test_proxy_and_agent_do_not_grow_with_requests(mesh: Running, door: int) -> None:
    pids = {role: mesh.processes.pid(role) for role in ("proxy", "agent")}
    early: dict[str, int] = {}

    def weigh(report: Report) -> None:
        if not early and report.answered >= REQUESTS // 5:
            early.update({role: rss(pid) for role, pid in pids.items()})
        report.latencies = report.latencies[:0]

    report = Load(Order(Door(door).url + "/", connections=32, count=REQUESTS), on_tick=weigh).run()

    assert (report.answered, report.failed) == (REQUESTS, 0)
    grown = {role: rss(pid) - early[role] for role, pid in pids.items()}
    print(f"{REQUESTS} requests in {report.seconds:.0f} s; grown by {grown} octets")  # noqa: T201
    assert all(growth < MEGABYTE for growth in grown.values()), grown


def test_a_mesh_at_rest_weighs_what_it_may(mesh: Running) -> None:
    weights = {w.role: w.rss / MEGABYTE for w in mesh.processes.weights()}

    assert weights["proxy"] <= 28
    assert weights["agent"] <= 32
    assert weights["supervisor"] <= 15
