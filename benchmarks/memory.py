"""What all of Tulle weighs, and how often it wakes at rest: `python -m benchmarks.memory`; PYTHONPATH=build/compiled for the compiled proxy.

The shop of the demo is brought up by the command line. Each process is weighed, watched at rest for a while, loaded through its door, and weighed
again. At rest the one program of the shop that always calls is stopped (SIGSTOP), so that nothing calls; its pod stays. As root all can be read.
With --services the mesh has so many more, of ten policies each, which run elsewhere.
"""

import argparse
import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.crowd import POLICIES_EACH
from tests.support.running import Door, Running, free_ports, running_example
from tools.footprint import Weight, children

FIELDS = ("Rss", "Pss", "Private_Dirty", "Private_Clean", "Shared_Dirty", "Shared_Clean")
ALWAYS_CALLS = "dev/spy"
EVERYTHING = "tulle"
PER_FILE = 500
"""Services: a file may have 4 MiB."""


CROWD = """---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: prod}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 9000}}]}}
---
apiVersion: tulle.dev/v1
kind: Workload
metadata: {{name: {name}, namespace: prod}}
spec: {{labels: {{app: {name}}}, address: {{host: 127.0.0.1, port: 9}}}}
"""
"""A service that runs beyond this box."""
POLICY = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}-{number}, namespace: prod}}
spec: {{selector: {{matchLabels: {{app: {name}}}}}, rules: [{{to: [{{operation: {{methods: [GET, POST], paths: [/{number}/*]}}}}]}}]}}
"""


class Memory(NamedTuple):
    """One process, in octets, as /proc/PID/smaps_rollup has it."""

    rss: int
    pss: int
    private_dirty: int
    private_clean: int
    shared_dirty: int
    shared_clean: int


class Worked(NamedTuple):
    """What a process has done since it began."""

    switches: int
    """Context switches of all its threads; each wake-up is at least one, a voluntary one before it."""
    nanoseconds: int
    """On a core."""


def memory_of(pid: int) -> Memory:
    """Raises PermissionError for what hides its memory from this user."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    found = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines[1:])}
    return Memory(*(found[name] for name in FIELDS))


def worked(pid: int) -> Worked:
    """Voluntary switches and time on a core, of all threads."""
    switches = nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds += int((task / "schedstat").read_text().split()[0])
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                switches += int(line.split()[1])
    return Worked(switches, nanoseconds)


def weigh(one: Running) -> list[tuple[Weight, Memory]]:
    """Every process of Tulle, with what it weighs."""
    return [(weight, memory_of(weight.pid)) for weight in one.processes.weights()]


class Rest(NamedTuple):
    """One process while nothing calls."""

    role: str
    pid: int
    wakes: float
    """A second."""
    core: float
    """Share of one core, in percent."""


def watch(weights: Iterable[Weight], seconds: float) -> list[Rest]:
    """Sleeps for so long; what each has done meanwhile."""
    before = [(one, worked(one.pid)) for one in weights]
    began = time.monotonic()
    time.sleep(seconds)
    after = [worked(one.pid) for one, _ in before]
    took = time.monotonic() - began
    return [
        Rest(
            one.role, one.pid, (then.switches - was.switches) / took, (then.nanoseconds - was.nanoseconds) / took / 1e7
        )
        for (one, was), then in zip(before, after, strict=True)
    ]


@contextmanager
def at_rest(one: Running) -> Iterator[None]:
    """Nothing calls, until the block ends."""
    stopped = children(one.pod_pid(ALWAYS_CALLS))
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def memory_table(found: list[tuple[Weight, Memory]]) -> str:
    """Megabytes, a line for each process and one for all."""
    rows = [f"{'MB':<12}{'pid':>8}{'RSS':>8}{'PSS':>8}{'private':>9}{'of it dirty':>13}{'shared':>8}"]
    for weight, memory in found:
        private, shared = memory.private_dirty + memory.private_clean, memory.shared_dirty + memory.shared_clean
        sizes = zip((memory.rss, memory.pss, private, memory.private_dirty, shared), (8, 8, 9, 13, 8), strict=True)
        rows.append(
            f"{weight.role:<12}{weight.pid:>8}" + "".join(f"{size / 2**20:>{width}.1f}" for size, width in sizes)
        )
    rows.append(f"{'all':<28}{sum(memory.pss for _, memory in found) / 2**20:>8.1f}")
    return "\n".join(rows)


def rest_table(found: list[Rest]) -> str:
    """A line for each process and one for all."""
    rows = [f"{'at rest':<12}{'pid':>8}{'wake-ups/s':>12}{'% of a core':>13}"]
    rows += [f"{one.role:<12}{one.pid:>8}{one.wakes:>12.2f}{one.core:>13.3f}" for one in found]
    rows.append(f"{'all':<20}{sum(one.wakes for one in found):>12.2f}{sum(one.core for one in found):>13.3f}")
    return "\n".join(rows)


def by_role(weighed: list[tuple[Weight, Memory]], rested: list[Rest]) -> dict[str, dict[str, float]]:
    """Values of each role, of all its processes together, and of `tulle`, which is all of them."""
    found: dict[str, dict[str, float]] = {}
    for weight, memory in weighed:
        for role in (weight.role, EVERYTHING):
            sums = found.setdefault(role, {"rss_kb": 0.0, "pss_kb": 0.0})
            sums["rss_kb"] += memory.rss / 1024
            sums["pss_kb"] += memory.pss / 1024
    for rest in rested:
        for role in (rest.role, EVERYTHING):
            sums = found[role]
            sums["wakeups_per_s"] = sums.get("wakeups_per_s", 0.0) + rest.wakes
            sums["core_percent"] = sums.get("core_percent", 0.0) + rest.core
    return found


def crowd(services: int) -> dict[str, str]:
    """So many services of ten policies each, by file name; a mesh's manifests beside its own."""
    names = [f"crowd{number:04}" for number in range(services)]
    texts = [
        CROWD.format(name=name) + "".join(POLICY.format(name=name, number=n) for n in range(POLICIES_EACH))
        for name in names
    ]
    return {
        f"crowd-{first:04}.yaml": "".join(texts[first : first + PER_FILE]) for first in range(0, services, PER_FILE)
    }


def main() -> None:
    """Prints what each process weighs, does at rest, and weighs after load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=25.0, help="watched at rest; 0: not at all")
    parser.add_argument("--services", type=int, default=0, help="of ten policies each, beside the shop's own")
    parser.add_argument("--requests", type=int, default=20_000, help="through the door, from 32 connections")
    parser.add_argument("--json", action="store_true", help="values by role, instead of tables")
    asked = parser.parse_args()
    ports = free_ports(18080)
    with running_example("shop", ports, beside=crowd(asked.services)) as shop:
        Door(ports[18080]).drive("/", connections=1, count=10)
        started = _at_rest_for(shop, asked.seconds)
        report = Door(ports[18080]).drive("/", connections=32, count=asked.requests)
        if report.failed:
            raise SystemExit(f"error: {report.failed} of {asked.requests} requests failed: the figures mean nothing")
        loaded = _at_rest_for(shop, asked.seconds)
    if asked.json:
        print(json.dumps({"idle": by_role(*started), "loaded": by_role(*loaded)}))
        return
    for when, (weighed, rested) in (("the start", started), (f"{asked.requests} requests", loaded)):
        print(
            "\n\n".join(
                [f"at rest, after {when}\n{memory_table(weighed)}", *([rest_table(rested)] if rested else []), ""]
            )
        )


def _at_rest_for(shop: Running, seconds: float) -> tuple[list[tuple[Weight, Memory]], list[Rest]]:
    with at_rest(shop):
        time.sleep(6)  # for what follows a start or a load, and deadlines that are looked at once more
        return weigh(shop), watch(shop.processes.weights(), seconds) if seconds else []


if __name__ == "__main__":
    main()
