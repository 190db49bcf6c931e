"""The floor: octets from one socket to another, nothing read, judged or counted, by `pump.c`."""

from contextlib import ExitStack
from pathlib import Path

from benchmarks.process import PROXY_CORE, Target, start
from benchmarks.programs import compile_program
from benchmarks.traffic import Traffic
from tools.ports import free_port


def start_pump(started: ExitStack, work: Path, traffic: Traffic) -> Target:
    """Each caller's connection has one of its own to the first version. Bulk is spliced."""
    program = compile_program("pump", work)
    port = free_port()
    log = work / "pump.log"
    command: list[str | Path] = [program, str(port), str(traffic.backend.ports[0]), "--splice"]
    process = start(started, PROXY_CORE, command, log)
    traffic.await_service("pump", port, process, log)
    return Target("pump", port, process.pid)
