"""Measures `tulle status` from a shell beside `python -c pass` of the same interpreter: `python -m benchmarks.status`.

A mesh of one program is brought up by the command line, as root or as whoever asks. Both commands alternate; wall time, of which medians mean most.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.running import TULLE, Running, running_example

COMMANDS = {
    "python": (sys.executable, "-c", "pass"),
    "tulle": (str(TULLE), "status"),
}
"""What is compared, by target."""
BESIDES = {
    "tulle --help": (str(TULLE), "--help"),
    "tulle status --json": (str(TULLE), "status", "--json"),
}
"""What goes the longer way."""


def main() -> None:
    """Prints medians and their ratio to an empty Python."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=20)
    asked = words.parse_args()
    with brought_up() as mesh:
        commands = COMMANDS | BESIDES
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(asked.rounds):
            for name, command in commands.items():
                taken[name].append(wall_ms(mesh, command))
    empty = statistics.median(taken["python"])
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"{name:20} {median:7.1f} ms  {median / empty:5.2f} ×  (least {min(times):.1f})")


@contextmanager
def brought_up() -> Iterator[Running]:
    """A mesh that is ready."""
    with running_example("hello", {}) as mesh:
        yield mesh


def wall_ms(mesh: Running, command: tuple[str, ...]) -> float:
    """One command from fork to end. Raises CalledProcessError when it fails."""
    began = time.perf_counter()
    subprocess.run(command, env=mesh.environment, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
