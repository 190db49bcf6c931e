"""Measures an apply of 1 000 services and 10 000 policies, by a real agent and a real proxy: `python -m benchmarks.apply`.

First the steps alone, in this process; then the whole way from the request to the agent's answer that it is in force, for a mesh that
is all new and for one policy changed; and what the agent holds then. PYTHONPATH says whose code runs.
"""

import argparse
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from benchmarks.compile import mesh, steps
from tests.support.node_alone import NodeAlone, node_alone
from tests.support.proxy_harness import Proxy
from tulle.compiler import Compiled, Facts, compile_mesh
from tulle.http.client import request
from tulle.kit.collector import no_collection
from tulle.manifest import Loaded, parse
from tulle.wire.snapshot import encode_snapshot
from tulle.wire.status import Applied, Outcome

MESH = "edge"
BEYOND = 1 << 30
"""A generation that no run reaches."""


def main() -> None:
    """Prints a name and a figure a line."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--services", type=int, default=1000)
    words.add_argument("--policies", type=int, default=10_000)
    asked = words.parse_args()
    first, second = (mesh(asked.services, asked.policies, MESH, resource) for resource in ("x", "y"))
    for name, figure in {**_alone(first), **_in_force(first, second), **_whole(first, second)}.items():
        print(f"{name} {figure:.1f}", flush=True)


def _alone(files: Mapping[str, str]) -> dict[str, float]:
    """CPU of what the agent does before it tells the proxy."""
    spent = steps(dict(files))
    return {
        "read_ms": 1000 * spent["read"],
        "compile_ms": 1000 * (spent["read"] + spent["compile"] + spent["encode"]),
    }


def _in_force(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, float]:
    """Wall time of PUT /snapshot, when every policy differs from the one before and when one does."""
    with Proxy() as proxy:
        proxy.hand_over("synced", "")
        _put(proxy, first, 1)
        return {
            "in_force_ms": _put(proxy, second, 2),
            "in_force_one_ms": _put(proxy, _one_changed(second), 3),
        }


def _put(proxy: Proxy, files: Mapping[str, str], generation: int) -> float:
    with no_collection():
        read = parse(files)
        assert isinstance(read, Loaded), "\n".join(map(str, read))
        made = compile_mesh(read.resources, Facts(generation=generation))
        assert isinstance(made, Compiled), "\n".join(map(str, made))
        text = encode_snapshot(made.snapshot)
    began = time.perf_counter()
    reply = request(proxy.admin_path, "PUT", "/snapshot", text)
    took = time.perf_counter() - began
    assert reply.is_ok, reply.body
    return 1000 * took


def _whole(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, float]:
    """Wall time of POST /apply, of it CPU of the agent, and the agent's memory."""
    with node_alone(backend=1) as node:
        node.write("")
        node.start()
        node.follow(BEYOND)
        before = node.resident_bytes()
        _apply(node, first)
        whole, agent = _apply(node, second)
        whole_one, agent_one = _apply(node, _one_changed(second))
        return {
            "whole_ms": whole,
            "agent_ms": agent,
            "whole_one_ms": whole_one,
            "agent_one_ms": agent_one,
            "agent_before_kb": before / 1024,
            "agent_kb": node.resident_bytes() / 1024,
            "agent_peak_kb": _peak_kb(node),
        }


def _apply(node: NodeAlone, files: Mapping[str, str]) -> tuple[float, float]:
    assert node.agent
    body = msgspec.json.encode({"files": files, "why": "bench"})
    spent, began = _spent_ms(node.agent.pid), time.perf_counter()
    answer = node.post("/apply", body)
    took, spent = time.perf_counter() - began, _spent_ms(node.agent.pid) - spent
    applied = msgspec.json.decode(answer, type=Applied)
    assert applied.outcome is Outcome.IN_FORCE, answer[:1000]
    return 1000 * took, spent


def _spent_ms(pid: int) -> float:
    """CPU of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * 1000 / os.sysconf("SC_CLK_TCK")


def _one_changed(files: Mapping[str, str]) -> dict[str, str]:
    last = max(files)
    return {**files, last: re.sub(r'"/y\d+/\*"', '"/other/*"', files[last], count=1)}


def _peak_kb(node: NodeAlone) -> float:
    assert node.agent
    status = Path(f"/proc/{node.agent.pid}/status").read_text()
    return float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    main()
