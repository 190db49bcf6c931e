"""The programs that are compared, each in its best honest configuration, by the names that the report uses."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.case import Bench
from benchmarks.peers.envoy import start_envoy
from benchmarks.peers.haproxy import start_haproxy
from benchmarks.peers.nginx import start_nginx
from benchmarks.peers.pump import start_pump
from benchmarks.process import Broken, Lacking, Target
from benchmarks.traffic import Traffic
from benchmarks.tulle import start_tulle


class Place(NamedTuple):
    """Where peers find what they need."""

    work: Path
    compiled: Path
    sources: Path


Start = Callable[[Place, ExitStack, Traffic], Target]


def _direct(place: Place, started: ExitStack, traffic: Traffic) -> Target:
    return Target("direct", traffic.backend.ports[0], None)


PEERS: dict[str, Start] = {
    "direct": _direct,
    "pump": lambda place, started, traffic: start_pump(started, place.work, traffic),
    "haproxy": lambda place, started, traffic: start_haproxy(started, place.work, traffic),
    "nginx": lambda place, started, traffic: start_nginx(started, place.work, traffic),
    "envoy-routing": lambda place, started, traffic: start_envoy(started, place.work, traffic, "envoy-routing"),
    "envoy": lambda place, started, traffic: start_envoy(started, place.work, traffic, "envoy"),
    "tulle": lambda place, started, traffic: start_tulle(started, place.work, traffic, "tulle", place.compiled),
    "tulle-interpreted": lambda place, started, traffic: start_tulle(
        started, place.work, traffic, "tulle-interpreted", place.sources
    ),
}
"""How each is started; in the order in which they alternate."""


def start_peers(
    bench: Bench, started: ExitStack, traffic: Traffic, names: Sequence[str] = tuple(PEERS)
) -> list[Target]:
    """Starts those that are wanted and can be had; the others are named as left out, Tulle as broken where it could be had. What they write is kept apart by the traffic's name."""
    work = bench.work / traffic.name
    work.mkdir(exist_ok=True)
    targets = []
    for name in names:
        if bench.wants(name):
            try:
                targets.append(PEERS[name](Place(work, bench.compiled, bench.sources), started, traffic))
            except (Lacking, OSError) as lack:
                bench.skip(f"{traffic.name} {name}", lack)
            except Broken as fault:
                bench.lose(f"{traffic.name} {name}", fault)
    return targets
