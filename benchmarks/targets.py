"""What the data plane is measured by: each target, and which samples say whether it is met."""

from typing import Final, Literal, NamedTuple

from benchmarks.record import Run
from benchmarks.summary import digits, figure, ratio

AT_MOST: Final = "≤"
AT_LEAST: Final = "≥"
UNCHANGED: Final = 1.05
"""A ratio that says nothing has changed; beyond it, one does whose spread reaches down to 1."""

KB_IN_MB: Final = 1 / 1024


class Found(NamedTuple):
    """What samples say of a target."""

    value: float
    words: str
    """The value with its unit and range."""
    is_noise: bool = False
    """Whether 1 lies within the range of a ratio."""


class Question(NamedTuple):
    """Which samples answer."""

    case: str
    variant: str
    target: str
    value: str
    peer: str = ""
    """What the value is divided by; empty: it stands by itself."""
    peer_variant: str = ""
    unit: str = ""
    scale: float = 1.0
    """From the samples' unit to that of the target."""
    is_worst: bool = False
    """Whether each round must meet the target, not their median."""


class Target(NamedTuple):
    """One row of the table of targets."""

    what: str
    sense: Literal["≤", "≥"]
    bound: float
    bound_words: str
    question: Question
    reach: str = ""
    """What would be better still."""
    or_noise: bool = False
    """Whether a ratio that cannot be told from 1 meets the target too, and is said to do so within noise."""


class Judged(NamedTuple):
    """A target and what came of it."""

    target: Target
    found: Found | None

    @property
    def verdict(self) -> str:
        """`met`, `met within noise`, `missed`, or `not measured`."""
        if self.found is None:
            return "not measured"
        value, target = self.found.value, self.target
        if value <= target.bound if target.sense == AT_MOST else value >= target.bound:
            return "met"
        return "met within noise" if target.or_noise and self.found.is_noise else "missed"


def judge(run: Run, targets: tuple[Target, ...]) -> list[Judged]:
    """What a run says of each target, in their order."""
    return [Judged(target, answer(run, target.question)) for target in targets]


def answer(run: Run, asked: Question) -> Found | None:
    """None where it was not measured."""
    if asked.peer:
        over = ratio(run, asked.case, asked.variant, asked.target, asked.value, asked.peer, asked.peer_variant)
        if over is None:
            return None
        return Found(over.of_medians, f"{over} × {asked.peer}", is_noise=over.least <= 1 <= over.most)
    found = figure(run, asked.case, asked.variant, asked.target, asked.value)
    if found is None:
        return None
    median, least, most = (digits(number * asked.scale) for number in found)
    value = found.most if asked.is_worst else found.median
    return Found(value * asked.scale, f"{median} {asked.unit} ({least}–{most})".replace("  ", " "))


def ratio_to(
    peer: str,
    case: str,
    variant: str = "",
    target: str = "tulle",
    value: str = "cpu_us",
    peer_variant: str | None = None,
) -> Question:
    """A target's value to a peer's, in the same variant unless said."""
    return Question(case, variant, target, value, peer, variant if peer_variant is None else peer_variant)


def value_of(case: str, variant: str, target: str, value: str, unit: str, scale: float = 1.0) -> Question:
    """A value itself, in a unit."""
    return Question(case, variant, target, value, unit=unit, scale=scale)


def _times(bound: float, peer: str) -> str:
    return f"{bound} × {peer}"


def _cost(what: str, bound: float, peer: str, question: Question, reach: float | None = None) -> Target:
    return Target(what, AT_MOST, bound, _times(bound, peer), question, "" if reach is None else _times(reach, peer))


def _at_most(what: str, bound: float, unit: str, question: Question, reach: float | None = None) -> Target:
    return Target(what, AT_MOST, bound, f"{bound:g} {unit}", question, "" if reach is None else f"{reach:g} {unit}")


TARGETS: tuple[Target, ...] = (
    _cost("CPU per HTTP/1.1 request, heads repeat", 0.95, "haproxy", ratio_to("haproxy", "http1", "heads=repeat"), 0.8),
    _cost("the same, heads differ", 1.15, "haproxy", ratio_to("haproxy", "http1", "heads=differ"), 0.95),
    *(
        _cost(
            f"the same, interpreted, heads {heads}",
            0.6,
            "envoy",
            ratio_to("envoy", "http1", f"heads={heads}", "tulle-interpreted"),
        )
        for heads in ("repeat", "differ")
    ),
    *(
        target
        for heads in ("repeat", "differ")
        for target in (
            _cost(
                f"CPU at 5 000 requests a second, heads {heads}",
                1.0,
                "haproxy",
                ratio_to("haproxy", "http1-fixed", f"heads={heads}"),
                0.8,
            ),
            _cost(
                f"p99 added there, heads {heads}",
                1.0,
                "haproxy",
                ratio_to("haproxy", "http1-fixed", f"heads={heads}", value="added_p99_us"),
                0.8,
            ),
        )
    ),
    *(
        _cost(
            f"new connection from {whence}, attested caller, first request: CPU",
            2.0,
            "haproxy",
            ratio_to("haproxy", "connect", variant),
        )
        for whence, variant in (("a pod", "from=pod"), ("an attached program", "from=attached"))
    ),
    *(
        target
        for heads in ("repeat", "differ", "indexed")
        for target in (
            _cost(f"CPU per gRPC call, heads {heads}", 0.35, "envoy", ratio_to("envoy", "grpc", f"heads={heads}"), 0.2),
            _cost(
                f"the same, to HAProxy, heads {heads}", 0.8, "haproxy", ratio_to("haproxy", "grpc", f"heads={heads}")
            ),
        )
    ),
    Target(
        "TCP connections a second",
        AT_LEAST,
        0.5,
        _times(0.5, "haproxy"),
        ratio_to("haproxy", "tcp-connect", value="rate"),
    ),
    *(
        Target(
            f"TCP bulk, {variant}",
            AT_LEAST,
            1.0,
            _times(1.0, "haproxy"),
            ratio_to("haproxy", "tcp-bulk", variant, value="mb_per_s"),
            "direct",
            or_noise=True,
        )
        for variant in ("down connections=1", "down connections=4", "up connections=1")
    ),
    _at_most("RSS of the proxy, idle", 24, "MB", value_of("memory", "idle", "proxy", "rss_kb", "MB", KB_IN_MB), 21),
    _at_most(
        "RSS of the proxy with 1 000 services",
        32,
        "MB",
        value_of("meshes", "services=1000", "tulle", "rss_kb", "MB", KB_IN_MB),
        24,
    ),
    *(
        _at_most(
            f"memory of an idle connection, {protocol}",
            6,
            "KB",
            value_of("idle", f"protocol={protocol}", "tulle", "bytes_each", "KB", 1 / 1024),
            3,
        )
        for protocol in ("HTTP/1.1", "HTTP/2")
    ),
    _at_most("RSS of the agent", 30, "MB", value_of("memory", "idle", "agent", "rss_kb", "MB", KB_IN_MB), 24),
    _at_most("RSS of the supervisor", 14, "MB", value_of("memory", "idle", "supervisor", "rss_kb", "MB", KB_IN_MB), 11),
    _at_most(
        "all of Tulle with the demo, PSS", 56, "MB", value_of("memory", "idle", "tulle", "pss_kb", "MB", KB_IN_MB), 45
    ),
    _at_most(
        "wake-ups a second at rest, all of Tulle", 2, "", value_of("memory", "idle", "tulle", "wakeups_per_s", ""), 1
    ),
    _at_most("of a core at rest", 0.1, "%", value_of("memory", "idle", "tulle", "core_percent", "%")),
    _at_most(
        "compiling 1 000 services and 10 000 policies", 2000, "ms", value_of("apply", "", "tulle", "compile_ms", "ms")
    ),
    _at_most("from compiled to in force", 150, "ms", value_of("apply", "", "tulle", "in_force_ms", "ms")),
    *(
        _at_most(
            f"longest latency of any request meanwhile, {swapped} new",
            20,
            "ms",
            value_of("swap", f"swap={swapped}", "tulle", "most_ms", "ms")._replace(is_worst=True),
            5,
        )
        for swapped in ("one policy", "all policies")
    ),
    Target(
        "CPU per request with 10 000 policies, to that with 10",
        AT_MOST,
        UNCHANGED,
        "1.0, but for noise",
        ratio_to("tulle", "policies", "policies=10000", peer_variant="policies=10"),
        or_noise=True,
    ),
    Target(
        "CPU per request with 1 000 services of 10 policies, to that with one",
        AT_MOST,
        UNCHANGED,
        "1.0, but for noise",
        ratio_to("tulle", "policies", "services=1000", peer_variant="policies=10"),
        or_noise=True,
    ),
    _cost("`tulle status` from a shell", 3.0, "python -c pass", ratio_to("python", "status", value="wall_ms"), 2.0),
)
