"""A whole exposition of the proxy's, read strictly, since tests go by it."""

from tulle.cli.samples import Series, read_series

__all__ = ["Series", "parse", "total"]


def parse(text: str) -> list[Series]:
    """Every sample, in order. Raises ValueError for a line that is neither a sample nor a comment."""
    found = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if (one := read_series(line)) is None:
            raise ValueError(f"not a sample: {line}")
        found.append(one)
    return found


def total(series: list[Series], name: str, **labels: str) -> float:
    """Sum of one metric over the series that carry these labels."""
    return sum(s.value for s in series if s.name == name and all(s.labels.get(k) == v for k, v in labels.items()))
