"""A run in words: the machine and how noisy it was, a table for each case, the targets. `python -m benchmarks.report RAW.json [--markdown]`."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.record import Heading, Run, read_run
from benchmarks.summary import digits, figure, ratio
from benchmarks.targets import TARGETS, Judged, judge

SCALES: dict[str, tuple[str, float]] = {"rss_kb": ("RSS MB", 1 / 1024), "rate": ("{unit}s/s", 1)}
"""How a value is shown: its title and what it is multiplied by; the others as they are named."""

Row = Sequence[str]


def main() -> None:
    """Prints a run that was kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--markdown", action="store_true", help="tables to paste into a document")
    asked = parser.parse_args()
    print(as_text(read_run(asked.raw), MARKDOWN if asked.markdown else PLAIN))


class Style(NamedTuple):
    """How a report is written down."""

    title: str
    """Of a table, with its words in place of {}."""
    table: Callable[[Sequence[Row]], str]


def as_text(run: Run, style: Style) -> str:
    """The whole report, with the targets of the cases that took part."""
    parts = [machine_words(run), noise_words(run)]
    for case, heading in run.cases.items():
        if run.probes(case):
            parts += [
                style.title.format(f"{heading.title}, per {heading.unit}"),
                style.table(case_rows(run, case, heading)),
            ]
    asked = tuple(target for target in TARGETS if target.question.case in run.cases)
    if asked:
        parts += [style.title.format("Targets"), style.table(target_rows(judge(run, asked)))]
    if run.failed:
        parts.append("Requests failed:\n" + "\n".join(f"- {name}: {count}" for name, count in run.failed.items()))
    if run.skipped:
        parts.append("Left out:\n" + "\n".join(f"- {what}: {_first_line(why)}" for what, why in run.skipped.items()))
    return "\n\n".join(parts)


def machine_words(run: Run) -> str:
    """One line."""
    return ", ".join(f"{name} {words}" for name, words in run.machine.items())


def noise_words(run: Run) -> str:
    """How much others had during the windows, and how much longer the same loop took than at its best."""
    lines = []
    if run.samples:
        others, stolen = ([getattr(s.noise, name) for s in run.samples] for name in ("others", "stolen"))
        lines.append(
            f"noise: in {len(others)} windows other programs had {_spread(others, '.2f')} cores, the hypervisor {_spread(stolen, '.2f')}"
        )
    for core in sorted({c.core for c in run.calibrations}):
        wall, cpu = ([getattr(c, name) for c in run.calibrations if c.core == core] for name in ("wall_ms", "cpu_ms"))
        lines.append(
            f"core {core}: a loop of {min(wall):.1f} ms took {_spread([w / min(wall) for w in wall], '.2f')} times that,"
            f" and {_spread([c / min(cpu) for c in cpu], '.2f')} times its least CPU"
        )
    return "\n".join(lines)


def case_rows(run: Run, case: str, heading: Heading) -> list[Row]:
    """A head, then one line for each probe."""
    probes = run.probes(case)
    several = len({variant for variant, _ in probes}) > 1
    measured = {name for s in run.samples if s.case == case for name in s.values}
    columns = [name for name in heading.columns if name in measured]
    peers = [peer for peer in heading.peers if any(target == peer for _, target in probes)]
    titles = [
        *(["variant"] if several else []),
        "target",
        heading.figure,
        "min",
        "max",
        *(f"÷ {peer} (spread)" for peer in peers),
        *(SCALES.get(name, (name, 1))[0].format(unit=heading.unit) for name in columns),
    ]
    rows: list[Row] = [titles]
    for variant, target in probes:
        own = figure(run, case, variant, target, heading.figure)
        ratios = (ratio(run, case, variant, target, heading.figure, peer) for peer in peers)
        rows.append(
            [
                *([variant] if several else []),
                target,
                *(("", "", "") if own is None else map(digits, own)),
                *("" if one is None else str(one) for one in ratios),
                *(_shown(run, case, variant, target, name) for name in columns),
            ]
        )
    return rows


def target_rows(judged: Iterable[Judged]) -> list[Row]:
    """A head, then one line for each target."""
    head: Row = ("what", "target", "reach for", "measured", "")
    return [head, *map(_target_row, judged)]


def _target_row(one: Judged) -> Row:
    bound = f"{one.target.sense} {one.target.bound_words}"
    return one.target.what, bound, one.target.reach, "" if one.found is None else one.found.words, one.verdict


def text_table(rows: Sequence[Row]) -> str:
    """Columns padded with blanks; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = [any(row[place] and not row[place][0].isdigit() for row in rows[1:]) for place in range(len(widths))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in rows
    )


def markdown_table(rows: Sequence[Row]) -> str:
    """The same as Markdown."""
    head, *rest = rows
    left = [any(row[place] and not row[place][0].isdigit() for row in rest) for place in range(len(head))]
    rule = ["---" if is_left else "---:" for is_left in left]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "|".join(rule) + "|", *map(_markdown_row, rest)])


def _markdown_row(row: Row) -> str:
    return "| " + " | ".join(row) + " |"


PLAIN = Style("{}", text_table)
MARKDOWN = Style("### {}", markdown_table)


def _shown(run: Run, case: str, variant: str, target: str, name: str) -> str:
    found = figure(run, case, variant, target, name)
    return "" if found is None else digits(found.median * SCALES.get(name, (name, 1))[1])


def _spread(values: Iterable[float], form: str) -> str:
    found = sorted(values)
    return f"{median(found):{form}} (at most {found[-1]:{form}})"


def _first_line(words: str) -> str:
    return words.split("\n", 1)[0]


if __name__ == "__main__":
    main()
