"""Measures what a change of manifests costs: CPU of each step from text to tables, in one process, the best of some rounds.

`python -m benchmarks.compile --services 1000 --policies 10000`
"""

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

from tulle.compiler import Compiled, Facts, compile_mesh
from tulle.core.tables import build_tables
from tulle.kit.collector import no_collection
from tulle.manifest import Loaded, parse
from tulle.wire.snapshot import decode_snapshot, encode_snapshot

T = TypeVar("T")
PER_FILE = 2500
"""Policies: a file may have 4 MiB."""

POLICY = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: p{number}
spec:
  selector:
    matchLabels:
      app: s{guarded}
  rules:
    - from:
        - source:
            principals: [{mesh}.local/ns/default/sa/s{caller}]
      to:
        - operation:
            methods: [GET]
            paths: ["/{resource}{number}/*"]
"""


def main() -> None:
    """Prints milliseconds by step."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--services", type=int, default=1000)
    words.add_argument("--policies", type=int, default=10_000)
    words.add_argument("--rounds", type=int, default=3)
    asked = words.parse_args()
    files = mesh(asked.services, asked.policies)
    rounds = [steps(files) for _ in range(asked.rounds)]
    for step in rounds[0]:
        print(f"{step:10} {1000 * min(one[step] for one in rounds):8.1f} ms")
    print(f"{'whole':10} {1000 * min(sum(one.values()) for one in rounds):8.1f} ms")


def mesh(services: int, policies: int, name: str = "big", resource: str = "x") -> dict[str, str]:
    """A mesh file of services that call one another, and files of policies beside it; each policy names a path that begins with `resource`."""
    lines = [
        f"  s{n}: {{run: serve, port: {8000 + n % 100}, calls: [s{(n - 1) % services}, s{(n - 7) % services}],"
        f" allow: [{{from: [s{(n + 1) % services}, s{(n + 7) % services}], methods: [GET, POST], paths: [/a/*]}}]}}"
        for n in range(services)
    ]
    files = {"mesh.yaml": "\n".join([f"mesh: {name}", "services:", *lines, ""])}
    texts = [
        POLICY.format(mesh=name, number=n, guarded=n % services, caller=7 * n % services, resource=resource)
        for n in range(policies)
    ]
    for first in range(0, policies, PER_FILE):
        files[f"policies-{first:06}.yaml"] = "".join(texts[first : first + PER_FILE])
    return files


def steps(files: dict[str, str]) -> dict[str, float]:
    """Seconds of CPU by step."""
    spent: dict[str, float] = {}

    def timed(step: str, work: Callable[[], T]) -> T:
        began = time.process_time()
        done = work()
        spent[step] = time.process_time() - began
        return done

    read = timed("read", lambda: parse(files))
    assert isinstance(read, Loaded), "\n".join(map(str, read))
    made = timed("compile", lambda: compile_mesh(read.resources, Facts(generation=1)))
    assert isinstance(made, Compiled), "\n".join(map(str, made))
    text = timed("encode", lambda: encode_snapshot(made.snapshot))
    with no_collection():  # as the proxy does
        snapshot = timed("decode", lambda: decode_snapshot(text))
        timed("lay out", lambda: build_tables(snapshot))
    return spent


if __name__ == "__main__":
    main()
