"""The two ends of a case, where both are the bench's own programs: started, awaited, driven, and what they counted."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from benchmarks.backend import Backend
from benchmarks.case import Values
from benchmarks.load import Heads, Load, result_of
from benchmarks.measure import cost_of, spent
from benchmarks.process import LOAD_CORE, Target, await_service, start
from tools.ports import free_port


class Attempt(Protocol):
    """One short load on a port: what it counted. Raises CalledProcessError where nothing can be reached."""

    def __call__(self, port: int) -> Values: ...


def undriven(port: int, heads: Heads, seed: int, seconds: float) -> Load:
    """Of traffic that has more than one way to be driven: its case does it."""
    raise NotImplementedError


def answered(counted: Values) -> float:
    """What most costs are per."""
    return counted["requests"]


def driven(program: Path, *words: object) -> Values:
    """What the program counted, run to its end on the core of the load. Raises ValueError unless it said so exactly once."""
    command = ["taskset", "--cpu-list", str(LOAD_CORE), str(program), *map(str, words)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return result_of(said)


def start_service(started: ExitStack, work: Path, program: Path, words: tuple[str, ...], attempt: Attempt) -> Backend:
    """Starts the service on the core that the load has too: two ports for two versions."""
    backend = Backend((free_port(), free_port()))
    log = work / f"{program.name}.log"
    process = start(started, LOAD_CORE, [program, *words, *map(str, backend.ports)], log)
    await_attempt(program.name, backend.ports[0], process, log, attempt)
    return backend


def await_attempt(
    name: str, port: int, process: "subprocess.Popen[bytes]", log: Path, attempt: Attempt, patience: float = 20
) -> None:
    """Returns when a load on the port succeeds. Raises Lacking when that takes too long."""

    def fault() -> str:
        try:
            counted = attempt(port)
        except subprocess.CalledProcessError as fault:
            return str(fault.stderr).strip() or f"exit code {fault.returncode}"
        if counted["requests"] and not counted["failed"]:
            return ""
        return f"{counted['failed']:.0f} failed, {counted['requests']:.0f} did not"

    await_service(name, fault, process, log, patience)


def measured(
    target: Target, attempt: Attempt, units: Callable[[Values], float] = answered, rate: str = "rate"
) -> Values:
    """What a window of load on the target counted, units a second under the name `rate`, and their cost. Raises ValueError when there were none."""
    if target.pid is None:
        counted, cpu = attempt(target.port), None
    else:
        with spent(target.pid) as cpu:
            counted = attempt(target.port)
    amount = units(counted)
    if not amount:
        raise ValueError(f"nothing was answered: {counted}")
    values = counted | {rate: amount / counted["micros"] * 1e6}
    return values if cpu is None else values | cost_of(cpu, amount)
