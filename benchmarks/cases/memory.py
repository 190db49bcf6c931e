"""What Tulle weighs, at rest and after load: the shop of the demo, with its wake-ups; the same in meshes of many services; and the proxy alone in those."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.crowd import POLICIES_EACH
from benchmarks.measure import rss_kb
from benchmarks.peers import start_peers
from benchmarks.process import Lacking, Target
from benchmarks.traffic import requests

ROOT = Path(__file__).resolve().parent.parent.parent
ROLES = ("tulle", "supervisor", "stem", "broker", "agent", "proxy", "pod init")
"""`tulle` is all of them; there is a `pod init` for each pod."""
SERVICES = (1, 100, 1000)
WATCHED = 15.0
"""Seconds at rest, in which wake-ups are counted."""

PROGRAM = (sys.executable, "-m", "benchmarks.memory", "--json")
WATCHING = (*PROGRAM, "--seconds", str(WATCHED))


class Shop:
    """What was found in the demo, brought up once by a program of its own: `benchmarks.memory`."""

    def __init__(self, compiled: Path, program: tuple[str, ...] = WATCHING) -> None:
        self.compiled = compiled if (compiled / "tulle").exists() else None
        self.program = program
        self.found: dict[str, dict[str, Values]] | None = None
        """Nothing, where the demo did not come up."""

    def take(self, variant: str, role: str, number: int, seconds: float) -> Values:
        """Of one role. Raises Lacking where the mesh does not come up, or has no such process."""
        if self.found is None:
            self.found = {}
            self.found = self._measured()
        if role not in self.found.get(variant, {}):
            raise Lacking(f"the demo has no {role} to be weighed")
        return self.found[variant][role]

    def _measured(self) -> dict[str, dict[str, Values]]:
        env = {name: words for name, words in os.environ.items() if name != "PYTHONPATH"}
        if self.compiled is not None:
            env["PYTHONPATH"] = str(self.compiled)
        ran = subprocess.run(self.program, capture_output=True, text=True, check=False, env=env, cwd=ROOT, timeout=180)
        if ran.returncode:
            raise Lacking(f"the demo cannot be weighed: {ran.stderr[-1500:]}")
        found: dict[str, dict[str, Values]] = json.loads(ran.stdout)
        return found


def _start_demo(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    shops = {"": Shop(bench.compiled)}
    for count in SERVICES[1:]:
        shops[f" services={count}"] = Shop(bench.compiled, (*PROGRAM, "--seconds", "0", "--services", str(count)))
    return [
        Probe(role, f"{when}{size}", partial(shop.take, when, role))
        for size, shop in shops.items()
        for when in ("idle", "loaded")
        for role in ROLES
    ]


def _start_meshes(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    """Each with one request answered, as its start waits for."""
    traffic = requests(started, bench.work, bench.connections)
    meshes = [traffic._replace(name=f"services={count}", services=count) for count in SERVICES]
    return [
        Probe(target.name, mesh.name, partial(_weighed, target))
        for mesh in meshes
        for target in start_peers(bench, started, mesh, ("haproxy", "envoy", "tulle", "tulle-interpreted"))
        if target.name.startswith("tulle") or mesh.services == 1
    ]


def _weighed(target: Target, number: int, seconds: float) -> Values:
    """After a rest: what a proxy's first snapshot took is given back to the box a second later."""
    time.sleep(seconds)
    return {} if target.pid is None else {"rss_kb": float(rss_kb(target.pid))}


CASES = (
    Case(
        name="memory",
        title=f"The demo, at rest after its start and after 20 000 requests, and with so many more services of {POLICIES_EACH} policies each",
        unit="role",
        start=_start_demo,
        windows=1,
        figure="pss_kb",
        peers=(),
        rounds=1,
        seconds=130.0,
        warm=0,
        columns=("rss_kb", "wakeups_per_s", "core_percent"),
    ),
    Case(
        name="meshes",
        title=f"Resident memory of a proxy by the number of services, {POLICIES_EACH} policies each",
        unit="process",
        start=_start_meshes,
        windows=8,
        figure="rss_kb",
        peers=("haproxy", "envoy"),
        rounds=1,
        seconds=2.0,
        warm=0,
        columns=(),
    ),
)
