"""Instructions, by callgrind: where a window of a process's life spent them."""

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.process import Lacking, require

PATIENCE: Final = 60
"""Seconds that valgrind may take to answer; it does so in a few milliseconds."""
COST: Final = re.compile(r"[-+*0-9]")


class Profile(NamedTuple):
    """A window: by function, without those that it called."""

    instructions: Counter[str]
    calls: Counter[str]


class Callgrind:
    """Runs a process under callgrind, and profiles windows of it."""

    def __init__(self, work: Path) -> None:
        require("valgrind", "vgdb")
        self._work = work
        self._windows = 0
        self.environment: dict[str, str] = {}
        self.under: tuple[str, ...] = (
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            "--vgdb=yes",
            f"--vgdb-prefix={work}/vgdb",
            f"--callgrind-out-file={work}/callgrind.out",
        )

    def window(self, pid: int, act: Callable[[], None]) -> Profile:
        """What the process spends while `act` runs. Until its first window it runs uncounted, which is faster."""
        if not self._windows:
            self._command(pid, "instrumentation", "on")
        self._command(pid, "zero")
        act()
        self._command(pid, "dump")
        self._windows += 1
        return read_profile((self._work / f"callgrind.out.{self._windows}").read_text())

    def _command(self, pid: int, *words: str) -> None:
        command = ["vgdb", f"--vgdb-prefix={self._work}/vgdb", f"--pid={pid}", *words]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise Lacking("valgrind does not answer vgdb; it must be allowed to use ptrace") from None
        except subprocess.CalledProcessError as fault:
            raise Lacking(f"vgdb fails: {fault.stderr.strip()[-500:]}") from None


def read_profile(text: str) -> Profile:
    """What a file of callgrind's says. Costs that a line has by its calls are not its own; a function that recurs counts as one."""
    instructions: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    names: dict[str, str] = {}
    function = called = ""
    is_inclusive = False
    for line in text.splitlines():
        key, is_named, rest = line.partition("=")
        if is_named and key in ("fn", "cfn"):
            number, _, name = rest.partition(" ")
            if name:
                names[number] = name.partition("'")[0]
            if key == "fn":
                function = names.get(number, number)
            else:
                called = names.get(number, number)
        elif key == "calls":
            calls[called] += int(rest.split()[0])
            is_inclusive = True
        elif COST.match(line):
            if not is_inclusive:
                instructions[function] += int(line.split()[1])
            is_inclusive = False
    return Profile(instructions, calls)
