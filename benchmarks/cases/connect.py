"""A new connection and its first request by HTTP/1.1, of an anonymous caller at a door and of a caller in a pod, whom its listener attests."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.cases.fixed import BODY, head
from benchmarks.ends import driven, measured
from benchmarks.peers import start_peers
from benchmarks.pod import Pod, make_pod
from benchmarks.process import Lacking, Target
from benchmarks.programs import compile_program
from benchmarks.traffic import Traffic, requests
from benchmarks.tulle import SERVICE_ADDRESS, start_tulle

PARALLEL = 16
PEERS = ("direct", "haproxy", "envoy")


def _at_door(target: Target, program: Path, head: Path, number: int, seconds: float) -> Values:
    return measured(target, lambda port: driven(program, port, seconds, PARALLEL, 0, head, number, BODY, 0, "fresh"))


def _in_pod(target: Target, pod: Pod, program: Path, head: Path, number: int, seconds: float) -> Values:
    enter, *words = pod.entered
    return measured(
        target,
        lambda _: driven(
            Path(enter), *words, program, SERVICE_ADDRESS, seconds, PARALLEL, 0, head, number, BODY, 0, "fresh"
        ),
    )


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    program = compile_program("http_load", bench.work)
    path = bench.work / "head.connect"
    path.write_bytes(head("repeat"))
    traffic = requests(started, bench.work, PARALLEL)
    peers = start_peers(bench, started, traffic, PEERS)
    tulles = _start_tulles(bench, started, traffic)
    doors = [Probe(target.name, "from=door", partial(_at_door, target, program, path)) for target in [*peers, *tulles]]
    pods = [Probe(target.name, "from=pod", partial(_at_door, target, program, path)) for target in peers]
    pods += [
        Probe(target.name, "from=pod", partial(_in_pod, target, pod, program, path))
        for target, pod in tulles.items()
        if pod is not None
    ]
    return doors + pods


def _start_tulles(bench: Bench, started: ExitStack, traffic: Traffic) -> dict[Target, Pod | None]:
    """The real proxy with the listener of a pod, where one can be had."""
    running: dict[Target, Pod | None] = {}
    for name, sources in (("tulle", bench.compiled), ("tulle-interpreted", bench.sources)):
        if not bench.wants(name):
            continue
        try:
            pod = make_pod(started)
        except Lacking as lack:
            bench.skip("connect from=pod", lack)
            pod = None
        try:
            listener = None if pod is None else pod.listener
            running[start_tulle(started, bench.work, traffic, name, sources, pod=listener)] = pod
        except Lacking as lack:
            bench.skip(f"connect {name}", lack)
    return running


CASES = (
    Case(
        name="connect",
        title=f"A new connection and its first HTTP/1.1 request, {PARALLEL} at a time",
        unit="connection",
        start=_start,
        windows=10,
        seconds=0.7,
        warm=0.3,
    ),
)
