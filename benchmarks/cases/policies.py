"""What policies and services cost a request: heads differ, so that nothing is remembered, and the last policy is the one that allows."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.case import Bench, Case, Probe
from benchmarks.crowd import POLICIES_EACH
from benchmarks.measure import loaded
from benchmarks.peers import start_peers
from benchmarks.traffic import Traffic, requests

POLICIES = (1, 10, 100, 10_000)
"""All of them guard the service that is called, beside a DENY."""
ENVOYS = 100
"""Policies that Envoy is given at most."""
SERVICES = (100, 1000)
"""Ten policies each: what is compared with the second of the crowds."""


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    traffic = requests(started, bench.work, bench.connections)
    crowds = {
        f"policies={count}": traffic._replace(
            name=f"policies={count}",
            prefixes=(*(f"/shelf{number}/" for number in range(count - 1)), *traffic.prefixes),
        )
        for count in POLICIES
    }
    few = crowds[f"policies={POLICIES_EACH}"]
    meshes = {f"services={count}": few._replace(name=f"services={count}", services=count) for count in SERVICES}
    return [
        Probe(target.name, variant, partial(loaded, target, "differ", one.drive))
        for variant, one in (crowds | meshes).items()
        for target in start_peers(bench, started, one, ("tulle",) if variant in meshes else _peers(one))
    ]


def _peers(traffic: Traffic) -> tuple[str, ...]:
    """Envoy asks one policy after another: with ten thousand it answers no window's worth."""
    return ("haproxy", "envoy", "tulle") if len(traffic.prefixes) <= ENVOYS else ("haproxy", "tulle")


CASES = (
    Case(
        name="policies",
        title="HTTP/1.1 at saturation by the number of policies of the service, and of services, heads differ",
        unit="request",
        start=_start,
        windows=13,
        rounds=3,
        seconds=1.0,
    ),
)
