"""Large bodies by HTTP/1.1, down and up, and how much a proxy grows under them."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.ends import await_attempt, driven, measured, start_service, undriven
from benchmarks.measure import forget_peak, peak_kb, rss_kb
from benchmarks.peers import start_peers
from benchmarks.process import Target
from benchmarks.programs import compile_program
from benchmarks.traffic import Traffic

CONNECTIONS = 4
PEERS = ("direct", "pump", "haproxy", "nginx", "envoy", "tulle", "tulle-interpreted")
MIB = 1 << 20
COUNTED = 20
"""Octets of the answer to an upload: http_serve says how many came."""


class Body(NamedTuple):
    """One kind of request."""

    variant: str
    down: int
    """Octets of the answer's body."""
    up: int

    def head(self) -> bytes:
        """The whole head of a request."""
        if self.up:
            return f"POST /orders/1 HTTP/1.1\r\nHost: orders\r\nContent-Length: {self.up}\r\n\r\n".encode()
        return f"GET /orders/{self.down} HTTP/1.1\r\nHost: orders\r\n\r\n".encode()


BODIES = (Body("down 1 MiB", MIB, 0), Body("down 64 MiB", 64 * MIB, 0), Body("up 64 MiB", COUNTED, 64 * MIB))
ONE = Body("one octet", 1, 0)


def transfers(started: ExitStack, work: Path) -> Traffic:
    """Bodies that `http_serve.c` sends or counts."""
    program = compile_program("http_load", work)
    head = work / "head.one"
    head.write_bytes(ONE.head())

    def attempt(port: int) -> Values:
        return driven(program, port, 0.05, 1, 0, head, 0, ONE.down)

    return Traffic(
        name="bodies",
        unit="MB",
        is_http2=False,
        methods=("GET", "POST"),
        prefixes=("/orders/",),
        heads=(),
        backend=start_service(started, work, compile_program("http_serve", work), (), attempt),
        drive=undriven,
        await_service=partial(await_attempt, attempt=attempt),
        is_bulk=True,
    )


def take(target: Target, program: Path, head: Path, body: Body, number: int, seconds: float) -> Values:
    """One window; `grown_kb` is the most that the proxy had beyond what it had before."""
    before = 0
    if target.pid is not None:
        forget_peak(target.pid)
        before = rss_kb(target.pid)
    values = measured(
        target,
        lambda port: driven(program, port, seconds, CONNECTIONS, 0, head, number, body.down, body.up),
        lambda counted: (counted["down"] + counted["up"]) / 1e6,
        "mb_per_s",
    )
    return values if target.pid is None else values | {"grown_kb": peak_kb(target.pid) - before}


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    program = compile_program("http_load", bench.work)
    targets = start_peers(bench, started, transfers(started, bench.work), PEERS)
    probes = []
    for body in BODIES:
        head = bench.work / f"head.{body.variant.replace(' ', '-')}"
        head.write_bytes(body.head())
        probes += [Probe(target.name, body.variant, partial(take, target, program, head, body)) for target in targets]
    return probes


CASES = (
    Case(
        name="bodies",
        title=f"Bodies by HTTP/1.1, {CONNECTIONS} connections",
        unit="MB",
        start=_start,
        windows=21,
        seconds=1.0,
        columns=("user_us", "system_us", "mb_per_s", "grown_kb", "rss_kb"),
    ),
)
