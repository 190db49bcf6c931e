"""WebSocket messages of 64 to 125 octets, one under way on each connection."""

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

CONNECTIONS = 64
PEERS = ("direct", "pump", "haproxy", "nginx", "envoy", "tulle", "tulle-interpreted")


def messages(started: ExitStack, work: Path, program: Path) -> Traffic:
    """Messages between the two ends of `websocket.c`."""

    def attempt(port: int) -> Values:
        return driven(program, "load", port, 0.05, 1)

    return Traffic(
        name="messages",
        unit="message",
        is_http2=False,
        methods=("GET",),
        prefixes=("/orders/",),
        heads=(),
        backend=start_service(started, work, program, ("serve",), attempt),
        drive=undriven,
        await_service=partial(await_attempt, attempt=attempt),
        upgrades=True,
    )


def _take(target: Target, program: Path, number: int, seconds: float) -> Values:
    return measured(target, lambda port: driven(program, "load", port, seconds, CONNECTIONS))


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    program = compile_program("websocket", bench.work)
    targets = start_peers(bench, started, messages(started, bench.work, program), PEERS)
    return [Probe(target.name, "", partial(_take, target, program)) for target in targets]


CASES = (
    Case(
        name="websocket",
        title=f"WebSocket messages there and back, {CONNECTIONS} connections",
        unit="message",
        start=_start,
        windows=7,
        seconds=1.0,
    ),
)
