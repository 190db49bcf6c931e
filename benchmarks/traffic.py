"""What goes through the proxies in a run: its protocol, its two ends, and what policies must say of it."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.backend import Backend, start_backend
from benchmarks.calls import CALL_HEADS, SERVICES, attempt, call, compile_peer, start_answering
from benchmarks.ends import await_attempt
from benchmarks.load import HEADS, Drive, Heads, drive
from benchmarks.process import await_answer, require

CALL_CONNECTIONS = 4
CALL_STREAMS = 32


class Traffic(NamedTuple):
    """Requests, calls or connections."""

    name: str
    unit: str
    is_http2: bool
    """On both sides of the proxy, by prior knowledge."""
    methods: tuple[str, ...]
    prefixes: tuple[str, ...]
    """Paths that are allowed, each by a policy of its own; the last is asked for."""
    heads: tuple[Heads, ...]
    backend: Backend
    drive: Drive
    await_service: Callable[[str, int, subprocess.Popen[bytes], Path], None]
    """Returns when the port serves."""
    is_tcp: bool = False
    """Opaque: the proxy judges the connection and moves octets. Neither `is_http2` nor methods nor prefixes say anything then."""
    upgrades: bool = False
    """WebSocket is let through, where a proxy has to be told."""
    services: int = 1
    """Of the mesh; only one of them is called."""
    is_bulk: bool = False
    """Many octets on few connections: splicing pays. It does not for a few octets at a time."""


def requests(started: ExitStack, work: Path, connections: int) -> Traffic:
    """HTTP/1.1 by wrk, answered by nginx."""
    require("nginx", "wrk", "taskset")
    return Traffic(
        name="http1",
        unit="request",
        is_http2=False,
        methods=("GET", "POST"),
        prefixes=("/orders/",),
        heads=HEADS,
        backend=start_backend(started, work),
        drive=partial(drive, connections=connections, work=work),
        await_service=await_answer,
    )


def calls(started: ExitStack, work: Path) -> Traffic:
    """gRPC unary calls between the two ends of `grpc_peer.c`."""
    require("taskset")
    peer = compile_peer(work)
    return Traffic(
        name="grpc",
        unit="call",
        is_http2=True,
        methods=("POST",),
        prefixes=tuple(f"/shop.{service}/" for service in SERVICES),
        heads=CALL_HEADS,
        backend=start_answering(started, work, peer),
        drive=partial(call, peer=peer, connections=CALL_CONNECTIONS, streams=CALL_STREAMS),
        await_service=partial(await_attempt, attempt=partial(attempt, peer=peer)),
    )
