"""A new snapshot of a large mesh under load: how long until it is in force, and how long it lets any request wait."""

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.cases.fixed import BODY, head
from benchmarks.crowd import POLICIES_EACH, crowded
from benchmarks.ends import driven, measured
from benchmarks.peers import start_peers
from benchmarks.process import Target
from benchmarks.programs import compile_program
from benchmarks.traffic import Traffic, requests
from benchmarks.tulle import put, snapshot
from tulle.wire.snapshot import Operation, Policy, Rule, Snapshot, encode_snapshot

SERVICES = 1000
RATE = 1000
CONNECTIONS = 16
PAUSE = 0.5
"""Seconds between one snapshot in force and the next: all that it leaves to be done is done by then."""
GENERATION = re.compile(rb'"generation":\d+')


Texts = Callable[[Snapshot], tuple[Snapshot, Snapshot]]
"""Two that are put in turn, made of one."""


class Swaps:
    """Puts a snapshot after the other, each unlike the one before, for as long as a load lasts."""

    def __init__(self, place: Path, target: Target, texts: list[bytes]) -> None:
        self.place = place
        self.target = target
        self.texts = texts
        """In turn."""
        self.generations = count(2)

    def while_driven(self, until: float) -> list[float]:
        """Milliseconds from sending each until it was in force."""
        took = []
        while time.monotonic() + PAUSE < until:
            time.sleep(PAUSE)
            number = next(self.generations)
            text = GENERATION.sub(b'"generation":%d' % number, self.texts[number % len(self.texts)], count=1)
            began = time.monotonic()
            put(self.place / f"{self.target.name}.sock", text, self.place / f"{self.target.name}.log")
            took.append((time.monotonic() - began) * 1e3)
        return took


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    program = compile_program("http_load", bench.work)
    path = bench.work / "head.swap"
    path.write_bytes(head("differ"))
    traffic = requests(started, bench.work, CONNECTIONS)
    targets = start_peers(bench, started, traffic, ("tulle", "tulle-interpreted"))
    probes = [Probe(target.name, "swap=none", partial(_take, target, program, path, None)) for target in targets]
    for variant, texts in (("swap=one policy", _one_policy), ("swap=all policies", _all_policies)):
        probes += [
            Probe(target.name, variant, partial(_take, target, program, path, _swaps(bench, traffic, target, texts)))
            for target in targets
        ]
    return probes


def _swaps(bench: Bench, traffic: Traffic, target: Target, texts: Texts) -> Swaps:
    large = crowded(snapshot(target.port, traffic), SERVICES)
    return Swaps(bench.work / traffic.name, target, [encode_snapshot(one) for one in texts(large)])


def _take(target: Target, program: Path, head: Path, swaps: Swaps | None, number: int, seconds: float) -> Values:
    """One window of load at a fixed rate, with swaps in it."""
    with ThreadPoolExecutor(1) as beside:
        swapped = None if swaps is None else beside.submit(swaps.while_driven, time.monotonic() + seconds)
        values = measured(target, lambda port: driven(program, port, seconds, CONNECTIONS, RATE, head, number, BODY))
        values |= {"most_ms": values["most_us"] / 1e3, "p999_ms": values["p999_us"] / 1e3}
        took = [] if swapped is None else swapped.result()
    return values | ({"in_force_ms": median(took), "swaps": float(len(took))} if took else {})


def _one_policy(large: Snapshot) -> tuple[Snapshot, Snapshot]:
    return large, msgspec.structs.replace(large, policies=(*large.policies[:-1], _reworded(large.policies[-1])))


def _all_policies(large: Snapshot) -> tuple[Snapshot, Snapshot]:
    """But those of the service that is called, which stay as they are in both."""
    own = set(large.services[0].policies)
    policies = tuple(policy if policy.name in own else _reworded(policy) for policy in large.policies)
    return large, msgspec.structs.replace(large, policies=policies)


def _reworded(policy: Policy) -> Policy:
    """The same for another path."""
    rule = Rule(operations=(Operation(methods=("GET",), paths=("/reworded/*",)),))
    return msgspec.structs.replace(policy, rules=(rule,))


CASES = (
    Case(
        name="swap",
        title=f"Snapshots of {SERVICES:,} services and {SERVICES * POLICIES_EACH:,} policies, at {RATE:,} requests a second",
        unit="request",
        start=_start,
        windows=6,
        figure="most_ms",
        peers=(),
        seconds=3.0,
        columns=("p999_ms", "over_5ms", "over_20ms", "in_force_ms", "swaps", "rss_kb"),
        is_real_time=True,
    ),
)
