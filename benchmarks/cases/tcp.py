"""Opaque TCP: connections a second, and what many octets on few connections cost."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.ends import await_attempt, driven, measured, start_service, undriven
from benchmarks.peers import start_peers
from benchmarks.process import Target
from benchmarks.programs import compile_program
from benchmarks.traffic import Traffic

PARALLEL = 32
PEERS = ("direct", "pump", "haproxy", "nginx", "envoy", "tulle", "tulle-interpreted")
BULK = (("down", 1), ("down", 4), ("up", 1))


def opaque(started: ExitStack, work: Path, program: Path, is_bulk: bool = False) -> Traffic:
    """Connections between the two ends of `tcp_load.c`."""

    def attempt(port: int) -> Values:
        return driven(program, "connect", port, 0.05, 1)

    return Traffic(
        name="tcp",
        unit="connection",
        is_http2=False,
        methods=(),
        prefixes=(),
        heads=(),
        backend=start_service(started, work, program, ("serve",), attempt),
        drive=undriven,
        await_service=partial(await_attempt, attempt=attempt),
        is_tcp=True,
        is_bulk=is_bulk,
    )


def _connect(target: Target, program: Path, number: int, seconds: float) -> Values:
    return measured(target, lambda port: driven(program, "connect", port, seconds, PARALLEL))


def _bulk(target: Target, program: Path, way: str, connections: int, number: int, seconds: float) -> Values:
    return measured(
        target,
        lambda port: driven(program, way, port, seconds, connections),
        lambda seen: seen["moved"] / 1e6,
        "mb_per_s",
    )


def _start_connect(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    program = compile_program("tcp_load", bench.work)
    targets = start_peers(bench, started, opaque(started, bench.work, program), PEERS)
    return [Probe(target.name, "", partial(_connect, target, program)) for target in targets]


def _start_bulk(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    program = compile_program("tcp_load", bench.work)
    targets = start_peers(bench, started, opaque(started, bench.work, program, is_bulk=True), PEERS[:-1])
    return [
        Probe(target.name, f"{way} connections={connections}", partial(_bulk, target, program, way, connections))
        for way, connections in BULK
        for target in targets
    ]


CASES = (
    Case(
        name="tcp-connect",
        title=f"TCP connections, 64 octets there and back, {PARALLEL} at a time",
        unit="connection",
        start=_start_connect,
        windows=7,
        seconds=1.0,
    ),
    Case(
        name="tcp-bulk",
        title="TCP, many octets one way",
        unit="MB",
        start=_start_bulk,
        windows=18,
        seconds=1.0,
        columns=("user_us", "system_us", "mb_per_s", "rss_kb"),
    ),
)
