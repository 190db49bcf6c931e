"""Whether an observed split is what a weight promises."""

from collections.abc import Callable
from math import exp, inf, lgamma, log, sqrt

Z95 = 1.959964


def wilson(hits: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's interval of the share behind `hits` of `trials`; 0 to 1 without trials."""
    if trials == 0:
        return 0.0, 1.0
    share, z2 = hits / trials, z * z
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = z / (1 + z2 / trials) * sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def is_plausible(hits: int, trials: int, share: float, confidence: float = 0.999) -> bool:
    """Whether both exact binomial tails of `hits` are as likely as `confidence` allows."""
    tail = (1 - confidence) / 2
    below = sum(exp(_log_chance(k, trials, share)) for k in range(hits))
    at = exp(_log_chance(hits, trials, share))
    return below + at >= tail and 1 - below >= tail


def is_kept(hits: Callable[[], int], trials: int, share: float) -> bool:
    """Whether one of two draws is plausible. By chance alone one in a thousand is not, and two in a row one time in a million."""
    return any(is_plausible(hits(), trials, share) for _ in range(2))


def _log_chance(hits: int, trials: int, share: float) -> float:
    if share in (0.0, 1.0):
        return 0.0 if hits == round(share * trials) else -inf
    ways = lgamma(trials + 1) - lgamma(hits + 1) - lgamma(trials - hits + 1)
    return ways + hits * log(share) + (trials - hits) * log(1 - share)
