"""Looks for octets that break a law of what lies between a caller and an endpoint, led by coverage (atheris): `make fuzz`.

Starts from the framing tables, for so many seconds each; what breaks a law is printed and kept in build/fuzz.
"""

import argparse
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
FOUND = ROOT / "build" / "fuzz"
MAX_OCTETS = 2_000
DONE = re.compile(r"Done (\d+) runs")
TARGETS = ("requests", "answers")
INSTRUMENTED = ["tulle.http", "tulle.proxy", "tulle.core"]


def main() -> None:
    """Runs each target in a process of its own, and says how many inputs were tried."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    parser.add_argument("--target", choices=TARGETS, help="in this process")
    parser.add_argument("--corpus", type=Path)
    asked = parser.parse_args()
    if asked.target is not None:
        fuzz(asked.target, asked.corpus, asked.seconds)
    if not is_installed():
        print("atheris is not installed: it has wheels for CPython 3.11 on x86_64; the property tests alone have run")
        return
    for target in TARGETS:
        with TemporaryDirectory(prefix="tulle-fuzz-") as corpus:
            command = [sys.executable, "-m", "tools.fuzz", "--target", target, "--corpus", corpus]
            said = subprocess.run(
                [*command, "--seconds", str(asked.seconds)], cwd=ROOT, capture_output=True, text=True, check=False
            )
        tried = tries(said.stderr)
        if said.returncode or not tried:
            raise SystemExit(f"{said.stdout[-6000:]}{said.stderr[-2000:]}\nerror: {target}: a law is broken")
        print(f"{target}: {tried} inputs in {asked.seconds} s, no law broken")


def is_installed() -> bool:
    """Whether there is atheris."""
    return importlib.util.find_spec("atheris") is not None


def tries(said: str) -> int:
    """How many inputs libFuzzer says it has tried."""
    found = DONE.search(said)
    return int(found[1]) if found else 0


def fuzz(target: str, corpus: Path, seconds: int) -> None:
    """Fuzzes in this process, which ends with it."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED):
        laws = importlib.import_module("tests.support.relay_laws")
    framing = importlib.import_module("tests.support.framing")
    rows = framing.REQUESTS if target == "requests" else framing.RESPONSES
    seed(corpus, (row.wire for row in rows))
    check: Callable[[bytes, list[int]], object] = (
        laws.check_requests if target == "requests" else lambda wire, places: laws.check_answers(wire, b"GET", places)
    )
    FOUND.mkdir(parents=True, exist_ok=True)
    options = ["-seed=1", f"-max_total_time={seconds}", f"-max_len={MAX_OCTETS}", f"-artifact_prefix={FOUND}/{target}-"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda octets: check(*taken_apart(octets)))
    atheris.Fuzz()


def seed(corpus: Path, wires: Iterable[bytes]) -> None:
    """Writes the inputs to start from."""
    for number, wire in enumerate(wires):
        if len(wire) < MAX_OCTETS:
            (corpus / f"{number:04}").write_bytes(b"\x11\x40" + wire)


def taken_apart(octets: bytes) -> tuple[bytes, list[int]]:
    """An input: the places to cut at, then what is sent."""
    return octets[2:], [place * 5 for place in octets[:2]]


if __name__ == "__main__":
    main()
