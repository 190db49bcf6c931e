"""Figures that are checked in, and what may come of them: `reference.json`, kept by `python -m benchmarks.guard`."""

import enum
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

Figures = Mapping[str, Mapping[str, float]]
"""By case, what is counted or compared and how much of it; less is better."""

FILE: Final = Path(__file__).with_name("reference.json")


class Reference(msgspec.Struct):
    """What is checked in."""

    counts: dict[str, dict[str, dict[str, float]]] = {}
    """Per request, by environment: other compilers and interpreters spend other numbers of instructions."""
    ratios: dict[str, dict[str, float]] = {}
    """Of CPU per request, by peer; they hardly depend on the box."""


class Bounds(NamedTuple):
    """Between which multiples of its reference a figure is as it was."""

    least: float
    most: float


COUNTED: Final = Bounds(0.95, 1.05)
COMPARED: Final = Bounds(0.0, 1.25)
"""What is better by chance must not fail."""


class Verdict(enum.StrEnum):
    """What a figure is beside its reference."""

    SAME = "as it was"
    WORSE = "WORSE"
    BETTER = "BETTER: renew the reference"
    NEW = "NEW: renew the reference"


class Finding(NamedTuple):
    """One figure beside its reference."""

    case: str
    what: str
    was: float | None
    now: float
    verdict: Verdict

    def __str__(self) -> str:
        change = f"{self.now / self.was - 1:+8.1%}" if self.was else f"{'':8}"
        was = "-" if self.was is None else f"{self.was:.2f}"
        return f"{self.case:22}{self.what:14}{was:>12}{self.now:12.2f}{change}  {self.verdict}"


HEADING: Final = f"{'case':22}{'what':14}{'reference':>12}{'now':>12}{'change':>8}"


def compare(reference: Figures, measured: Figures, bounds: Bounds) -> list[Finding]:
    """Every figure that was measured, beside what is checked in."""
    return [
        Finding(case, what, was, now, _verdict(was, now, bounds))
        for case, figures in measured.items()
        for what, now in figures.items()
        for was in [reference.get(case, {}).get(what)]
    ]


def _verdict(was: float | None, now: float, bounds: Bounds) -> Verdict:
    if was is None:
        return Verdict.NEW
    if now > was * bounds.most:
        return Verdict.WORSE
    return Verdict.BETTER if now < was * bounds.least else Verdict.SAME


def environment() -> str:
    """What instructions are counted with: interpreter, the compiler that made it, C library, processor."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {platform.python_compiler()}, {' '.join(platform.libc_ver())}, {platform.machine()}"


def read_reference(path: Path = FILE) -> Reference:
    """What is checked in; nothing where there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=Reference) if path.exists() else Reference()


def write_reference(reference: Reference, path: Path = FILE) -> None:
    """Keeps the figures, rounded to what they mean."""
    counts = {where: _rounded(figures) for where, figures in reference.counts.items()}
    rounded = Reference(counts, _rounded(reference.ratios))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(rounded, order="sorted"), indent=2) + b"\n")


def _rounded(figures: Figures) -> dict[str, dict[str, float]]:
    return {case: {what: float(f"{one:.4g}") for what, one in of.items()} for case, of in figures.items()}
