"""gRPC unary calls: the ends of `grpc_peer.c`, compiled here, as service and as load."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.backend import Backend
from benchmarks.case import Values
from benchmarks.ends import driven, start_service
from benchmarks.load import Heads, Load
from benchmarks.programs import compile_program

CALL_HEADS: Final[tuple[Heads, ...]] = ("repeat", "differ", "indexed")
"""All alike; a traceparent of its own as a plain literal; the same, put into the table by the client."""

SERVICES: Final = (*(f"Service{number:02}" for number in range(19)), "Orders")
"""gRPC services, each allowed by a policy of its own; the last is called."""


def compile_peer(work: Path) -> Path:
    """The program, ready to run. Raises Lacking where there is no C compiler."""
    return compile_program("grpc_peer", work)


def start_answering(started: ExitStack, work: Path, peer: Path) -> Backend:
    """Starts the service on the core that the load has too: two ports for two versions."""
    return start_service(started, work, peer, ("serve",), partial(attempt, peer=peer))


def call(port: int, heads: Heads, seed: int, seconds: float, peer: Path, connections: int, streams: int) -> Load:
    """Calls one port as fast as it answers, so many streams on each connection."""
    counted = driven(peer, "load", port, seconds, connections, streams, heads, seed)
    return Load(*(int(counted[name]) for name in Load._fields))


def attempt(port: int, peer: Path) -> Values:
    """A few calls, one after another."""
    return driven(peer, "load", port, 0.05, 1, 1, "repeat", 0)
