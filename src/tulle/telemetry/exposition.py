"""Prometheus' text exposition, as far as Tulle's own processes write it."""

import re
from collections.abc import Iterator, Mapping

Samples = Mapping[str, float]
"""Series as the exposition names them (`name{label="value"}`) → value."""

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


def samples(text: str) -> dict[str, float]:
    """Every sample, in order. Raises ValueError for a line that is neither a sample nor a comment."""
    found: dict[str, float] = {}
    for line in text.split("\n"):
        if line and line[0] != "#":
            series, _, value = line.rpartition(" ")
            if not series:
                raise ValueError(f"not a sample: {line}")
            found[series] = float(value)
    return found


def labels(series: str) -> Iterator[tuple[str, str]]:
    """The labels of a series, its name as `__name__` first. One whose value is empty is the same as none, and left out."""
    name, _, rest = series.partition("{")
    yield "__name__", name
    for label, value in _LABEL.findall(rest):
        if value:
            yield label, _ESCAPED.sub(_unescaped, value) if "\\" in value else value


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
