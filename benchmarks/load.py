"""The load: wrk, with heads of ten fields that repeat, or that differ each time, or with the one field there must be."""

import json
import subprocess
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from benchmarks.case import Values
from benchmarks.process import LOAD_CORE

Heads = Literal["repeat", "differ", "minimal", "indexed"]
"""`indexed` is for calls only, `minimal` for requests."""
HEADS: tuple[Heads, ...] = ("repeat", "differ", "minimal")

FIELDS = {
    "Host": "orders",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "Accept": "application/json,text/html;q=0.9,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Cookie": "session=7f3c2a9be0d14b6f8a55c1d2e3f40617; theme=dark",
    "Referer": "http://shop.example/basket",
    "Cache-Control": "no-cache",
}
"""With X-Trace and X-Request-Start, which are what differs, ten."""

SCRIPT = """
local fields = "{fields}"
local seed, count = {seed}, 0
local prefix = string.format("%08x", seed)
function request()
    {kind}
    return same
end
same = "GET /orders/1?page=2 HTTP/1.1\\r\\n" .. fields ..
    "X-Trace: 4bf92f3577b34da6a3ce929d0e0e4736\\r\\nX-Request-Start: t=1718000000.000001\\r\\n\\r\\n"
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '\\nRESULT {{"requests":%d,"micros":%d,"failed":%d,"p50_us":%d,"p99_us":%d}}\\n', summary.requests, summary.duration,
        e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""
DIFFER = """count = count + 1
    do
        local hex = string.format("%08x", count)
        return "GET /orders/1?cart=" .. prefix .. hex .. " HTTP/1.1\\r\\n" .. fields ..
            "X-Trace: 4bf92f3577b34da6" .. prefix .. hex ..
            "\\r\\nX-Request-Start: t=17" .. string.format("%08d.%06d", seed, count % 1000000) .. "\\r\\n\\r\\n"
    end"""
"""The query and two fields are new in every request; a query with `cart` asks for answers that differ in two fields as well."""
MINIMAL = """do return "GET /orders/0 HTTP/1.1\\r\\nHost: orders\\r\\n\\r\\n" end"""
"""This path has an answer without fields of its own."""
KINDS: dict[Heads, str] = {"differ": DIFFER, "minimal": MINIMAL}


class Load(NamedTuple):
    """What wrk counted in one window."""

    requests: int
    micros: int
    failed: int
    p50_us: int
    p99_us: int


class Drive(Protocol):
    """Loads a port as fast as it answers, with heads of a kind; what differs does so by the seed."""

    def __call__(self, port: int, heads: Heads, seed: int, seconds: float) -> Load: ...


def drive(port: int, heads: Heads, seed: int, seconds: float, connections: int, work: Path) -> Load:
    """Loads one port as fast as it answers, from the core that nginx has too."""
    script = work / "load.lua"
    fields = "".join(f"{name}: {value}\\r\\n" for name, value in FIELDS.items())
    script.write_text(SCRIPT.format(fields=fields, seed=seed, kind=KINDS.get(heads, "")))
    command = [
        "taskset",
        "--cpu-list",
        str(LOAD_CORE),
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
    ]
    return read_result(
        subprocess.run(
            [*command, "-s", str(script), f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True
        ).stdout
    )


def read_result(said: str) -> Load:
    """What SCRIPT printed among wrk's own words. Raises ValueError when it is not there exactly once."""
    counted = result_of(said)
    return Load(*(int(counted[name]) for name in Load._fields))


def result_of(said: str) -> Values:
    """What a load says that it counted. Raises ValueError when that is not there exactly once."""
    [line] = [line for line in said.splitlines() if line.startswith("RESULT ")]
    return {name: float(value) for name, value in json.loads(line.removeprefix("RESULT ")).items()}
