"""gRPC unary calls: the ends of `grpc_peer.c`, compiled here, as service and as load."""

import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.backend import Backend
from benchmarks.load import Heads, Load, read_result
from benchmarks.process import LOAD_CORE, Lacking, free_port, start
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
    backend = Backend((free_port(), free_port()))
    log = work / "grpc_peer.log"
    process = start(started, LOAD_CORE, [peer, "serve", *map(str, backend.ports)], log)
    await_call("grpc_peer", backend.ports[0], process, log, peer)
    return backend


def call(port: int, heads: Heads, seed: int, seconds: float, peer: Path, connections: int, streams: int) -> Load:
    """Calls one port as fast as it answers, so many streams on each connection."""
    words = [port, seconds, connections, streams, heads, seed]
    command = ["taskset", "--cpu-list", str(LOAD_CORE), str(peer), "load", *map(str, words)]
    return read_result(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def await_call(name: str, port: int, process: subprocess.Popen[bytes], log: Path, peer: Path) -> None:
    """Returns when calls on the port succeed. Raises Lacking with the log's end when that takes more than 20 s."""
    deadline = time.monotonic() + 20
    last = "no answer"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            load = call(port, "repeat", 0, 0.05, peer, 1, 1)
            if load.requests and not load.failed:
                return
            last = f"{load.failed} calls failed"
        except subprocess.CalledProcessError as fault:
            last = str(fault.stderr).strip()
        time.sleep(0.05)
    raise Lacking(f"{name} does not serve calls: {last}\n{log.read_text(errors='replace')[-1500:]}")
