"""A new connection and its first request by HTTP/1.1, of an anonymous caller at a door, of one in a pod, and of a program of the box itself.

Who calls from a pod is known by the listener that only this pod reaches; of a program of the box the kernel is asked, for each connection.
"""

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.cases.fixed import BODY, head
from benchmarks.ends import driven, measured
from benchmarks.peers import start_peers
from benchmarks.pod import Pod, make_pod
from benchmarks.process import Broken, Lacking, Target
from benchmarks.programs import compile_program
from benchmarks.traffic import Traffic, requests
from benchmarks.tulle import ADDRESS, CALLER, SERVICE_ADDRESS, start_tulle
from tulle.wire.plan import Handover

PARALLEL = 16
PEERS = ("direct", "haproxy", "envoy")


class Entrances(NamedTuple):
    """Where one proxy accepts, beside its door."""

    pod: Pod | None
    """None where none can be made."""
    at_box: socket.socket
    """At a port of the service's virtual address."""

    @property
    def box_address(self) -> str:
        """`127.80.x.y:port`."""
        host, port = self.at_box.getsockname()
        return f"{host}:{port}"

    @property
    def facts(self) -> list[tuple[Handover, socket.socket | None]]:
        """What the supervisor would tell: whoever is the user of this process is the caller."""
        facts: list[tuple[Handover, socket.socket | None]] = [
            (Handover("attached", CALLER.pod, os.getuid()), None),
            (Handover("host", self.box_address), self.at_box),
        ]
        return facts if self.pod is None else [(Handover("pod", CALLER.pod), self.pod.listener), *facts]


def _take(target: Target, load: Sequence[str], to: str, head: Path, number: int, seconds: float) -> Values:
    """One window. `load` is the program, and before it what it runs in; `to`: where it dials, empty for the door."""
    first, *rest = load
    return measured(
        target,
        lambda port: driven(Path(first), *rest, to or port, seconds, PARALLEL, 0, head, number, BODY, 0, "fresh"),
    )


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    program = compile_program("http_load", bench.work)
    path = bench.work / "head.connect"
    path.write_bytes(head("repeat"))
    traffic = requests(started, bench.work, PARALLEL)
    peers = start_peers(bench, started, traffic, PEERS)
    tulles = start_tulles(bench, started, traffic)
    pods = {target: its.pod for target, its in tulles.items() if its.pod is not None}

    def probe(target: Target, variant: str, to: str = "", within: tuple[str, ...] = ()) -> Probe:
        return Probe(target.name, f"from={variant}", partial(_take, target, (*within, str(program)), to, path))

    return [
        *(probe(target, "door") for target in (*peers, *tulles)),
        *(probe(target, "pod") for target in peers if pods or not tulles),
        *(probe(target, "pod", SERVICE_ADDRESS, pod.entered) for target, pod in pods.items()),
        *(probe(target, "attached") for target in peers),
        *(probe(target, "attached", its.box_address) for target, its in tulles.items()),
    ]


def start_tulles(bench: Bench, started: ExitStack, traffic: Traffic) -> dict[Target, Entrances]:
    """The real proxy, with a listener at the box's virtual address, and that of a pod where one can be had."""
    running: dict[Target, Entrances] = {}
    for name, sources in (("tulle", bench.compiled), ("tulle-interpreted", bench.sources)):
        if not bench.wants(name):
            continue
        at_box = started.enter_context(socket.create_server((ADDRESS, 0), backlog=1024))
        its = Entrances(_pod_if_any(bench, started), at_box)
        try:
            running[start_tulle(started, bench.work, traffic, name, sources, besides=its.facts)] = its
        except (Lacking, Broken) as fault:
            bench.leave_out(f"connect {name}", fault)
    return running


def _pod_if_any(bench: Bench, started: ExitStack) -> Pod | None:
    try:
        return make_pod(started)
    except Lacking as lack:
        bench.skip("connect from=pod", lack)
        return None


CASES = (
    Case(
        name="connect",
        title=f"A new connection and its first HTTP/1.1 request, {PARALLEL} at a time",
        unit="connection",
        start=_start,
        windows=15,
        seconds=0.7,
        warm=0.3,
    ),
)
