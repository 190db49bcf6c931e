"""How long to wait before what has ended, or does not answer, is tried again."""

STEADY_SECONDS = 600.0
"""What has run for so long is forgiven all that came before: ten minutes, as Kubernetes has it."""


class Backoff:
    """Pauses that double from the first to the longest, after a number of ends that cost none."""

    def __init__(self, first_seconds: float, longest_seconds: float, *, free: int = 0) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._free = free
        self._ends = 0
        """Since it last ran steadily."""

    def after(self, ran_seconds: float) -> float:
        """The pause after it has ended once more, having run for so long."""
        if ran_seconds >= STEADY_SECONDS:
            self._ends = 0
        self._ends += 1
        doublings = self._ends - self._free - 1
        return min(self._first * 2.0 ** min(doublings, 64), self._longest) if doublings >= 0 else 0.0
