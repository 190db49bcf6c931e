"""A run as it is kept: raw samples with the machine they were made on, readable without the program that made them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.noise import Calibration, Noise

PLACE: Final = re.compile(r"\s*--(?:raw|compiled)[ =]\S+")


class Sample(msgspec.Struct, frozen=True):
    """What one window showed."""

    case: str
    variant: str
    target: str
    round: int
    values: dict[str, float]
    noise: Noise


class Heading(msgspec.Struct, frozen=True):
    """What the report has to know of a case."""

    title: str
    unit: str
    figure: str
    peers: tuple[str, ...]
    columns: tuple[str, ...]


class Run(msgspec.Struct):
    """All that is kept of one run."""

    machine: dict[str, str]
    command: str
    cases: dict[str, Heading] = {}
    samples: list[Sample] = []
    calibrations: list[Calibration] = []
    skipped: dict[str, str] = {}
    """Why, by what was left out."""
    seconds: float = 0.0
    """The whole took."""

    def of(self, case: str, variant: str, target: str) -> list[Sample]:
        """The samples of one probe, round by round."""
        return [s for s in self.samples if (s.case, s.variant, s.target) == (case, variant, target)]

    def values(self, case: str, variant: str, target: str, name: str) -> dict[int, float]:
        """One value of one probe, by round; samples without it are left out."""
        return {s.round: s.values[name] for s in self.of(case, variant, target) if name in s.values}

    def probes(self, case: str) -> list[tuple[str, str]]:
        """Variant and target of all that was measured in a case, in the order of measuring."""
        return list(dict.fromkeys((s.variant, s.target) for s in self.samples if s.case == case))

    @property
    def failed(self) -> dict[str, int]:
        """How many requests failed, by case, variant and target; of those the figures mean nothing."""
        found: dict[str, int] = {}
        for s in self.samples:
            if count := int(s.values.get("failed", 0)):
                name = " ".join(filter(None, (s.case, s.variant, s.target)))
                found[name] = found.get(name, 0) + count
        return found


def read_run(path: Path) -> Run:
    """A run that was kept. Raises msgspec.ValidationError when the file is none."""
    return msgspec.json.decode(path.read_bytes(), type=Run)


def write_run(run: Run, path: Path) -> None:
    """Keeps a run, a line for each sample, in six digits."""
    samples = [rounded(sample) for sample in run.samples]
    lists: dict[str, Sequence[msgspec.Struct]] = {"samples": samples, "calibrations": run.calibrations}
    others = {name: getattr(run, name) for name in run.__struct_fields__ if name not in lists}
    text = msgspec.json.format(msgspec.json.encode(others), indent=1).decode().removesuffix("\n}")
    for name, rows in lists.items():
        lines = ",\n".join(msgspec.json.encode(row).decode() for row in rows)
        text += f',\n "{name}": [\n{lines}\n]'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n}\n")


def rounded(sample: Sample) -> Sample:
    """With values of six digits."""
    values = {name: float(f"{value:.6g}") for name, value in sample.values.items()}
    return msgspec.structs.replace(sample, values=values)


def without_places(words: str) -> str:
    """What was asked for, without where the box that was asked keeps it: a run is published."""
    return PLACE.sub("", words).strip()
