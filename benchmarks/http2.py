"""Plain HTTP/2: nghttpd as service, h2load as load."""

import re
import subprocess
from contextlib import ExitStack
from pathlib import Path

from benchmarks.backend import Backend
from benchmarks.load import FIELDS, Heads, Load
from benchmarks.process import LOAD_CORE, await_service, require, start
from benchmarks.traffic import CALL_CONNECTIONS, CALL_STREAMS, Traffic
from tools.ports import free_port

DONE = re.compile(r"^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.MULTILINE)
RATE = re.compile(r"^finished in .*, ([\d.]+) req/s", re.MULTILINE)
MEAN = re.compile(r"^time for request: +\S+ +\S+ +([\d.]+)(us|ms|s) ", re.MULTILINE)
MICROS = {"us": 1.0, "ms": 1e3, "s": 1e6}
ANSWER = '{"order":1,"version":"v1"}'


def gets(started: ExitStack, work: Path) -> Traffic:
    """GETs of one small file, 4 connections of 32 streams."""
    require("h2load", "nghttpd", "taskset")
    files = work / "files" / "orders"
    files.mkdir(parents=True)
    (files / "1").write_text(ANSWER)
    backend = Backend((free_port(), free_port()))
    for port in backend.ports:
        log = work / f"nghttpd-{port}.log"
        process = start(started, LOAD_CORE, ["nghttpd", "--no-tls", "-d", files.parent, str(port)], log)
        await_get("nghttpd", port, process, log)
    return Traffic(
        name="http2",
        unit="request",
        is_http2=True,
        methods=("GET", "POST"),
        prefixes=("/orders/",),
        heads=("repeat",),
        backend=backend,
        drive=get,
        await_service=await_get,
    )


def get(port: int, heads: Heads, seed: int, seconds: float) -> Load:
    """Asks one port as fast as it answers. Both percentiles are the mean: h2load tells no other."""
    return read_result(_said(port, f"--duration={max(1, round(seconds))}", "-c", CALL_CONNECTIONS, "-m", CALL_STREAMS))


def read_result(said: str) -> Load:
    """What h2load printed. Raises ValueError when it is not there."""
    done, mean, rate = DONE.search(said), MEAN.search(said), RATE.search(said)
    if done is None or mean is None or rate is None or not float(rate[1]):
        raise ValueError(f"h2load says no result: {said[-500:]}")
    succeeded, failed, errored, timed_out = map(int, done.groups())
    latency = round(float(mean[1]) * MICROS[mean[2]])
    micros = round(succeeded / float(rate[1]) * 1e6)
    return Load(succeeded, micros, failed + errored + timed_out, latency, latency)


def await_get(name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when the port answers. Raises Lacking when that takes too long."""

    def fault() -> str:
        try:
            said = _said(port, "-n", 1)
        except subprocess.CalledProcessError as fault:
            return str(fault.stderr).strip() or f"exit code {fault.returncode}"
        return "" if "1 succeeded" in said else said[-300:] or "nothing said"

    await_service(name, fault, process, log)


def _said(port: int, *words: str | int) -> str:
    fields = [word for name, value in FIELDS.items() if name != "Host" for word in ("-H", f"{name}: {value}")]
    url = f"http://127.0.0.1:{port}/orders/1"
    command = ["taskset", "--cpu-list", str(LOAD_CORE), "h2load", "-t1", *map(str, words), *fields, url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
