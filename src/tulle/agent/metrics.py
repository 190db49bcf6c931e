"""Every metric of the agent, as data, and the exposition that is made of them. Pushed with the proxy's; not on the port for scrapes."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tulle.agent.node import Node
from tulle.kit.exposition import Kind, Metric, written

PROXY_UP = Metric(
    "tulle_proxy_up", Kind.GAUGE, "1 while the agent gets an answer from the proxy, 0 while it gets none."
)
WANTED = Metric("tulle_wanted_generation", Kind.GAUGE, "Generation that shall be in force; 0 before the first.")
PROBLEMS = Metric("tulle_manifest_problems", Kind.GAUGE, "Problems of the watched manifests; what ran before stays.")
POD_READY = Metric("tulle_pod_ready", Kind.GAUGE, "1 while the pod is ready, else 0.", ("pod",))
POD_RESTARTS = Metric(
    "tulle_pod_restarts_total", Kind.COUNTER, "How often the pod was started again after its end.", ("pod",)
)
SENT = Metric("tulle_push_samples_total", Kind.COUNTER, "Samples that the receiver took.")
DROPPED = Metric(
    "tulle_push_samples_dropped_total",
    Kind.COUNTER,
    "Samples that never arrive. reason: refused (the receiver will not have them), too-old (beyond `max_age`), spool-full (beyond "
    "`max_bytes`, or the disk is full).",
    ("reason",),
)
REQUESTS = Metric(
    "tulle_push_requests_total",
    Kind.COUNTER,
    "Requests to the receiver, by what came of them: taken, refused, or later (it is asked again).",
    ("outcome",),
)
OCTETS = Metric("tulle_push_bytes_total", Kind.COUNTER, "Octets of these requests' bodies.")
WAITING = Metric("tulle_push_waiting_samples", Kind.GAUGE, "Samples that the receiver has not taken yet.")
SPOOL = Metric(
    "tulle_push_waiting_bytes", Kind.GAUGE, "Octets of the bodies in which these wait, on disk or in memory."
)
LAST = Metric(
    "tulle_push_last_success_timestamp_seconds",
    Kind.GAUGE,
    "When the receiver last took something, Unix time; 0: never.",
)
CPU = Metric("tulle_agent_cpu_seconds_total", Kind.COUNTER, "User and system CPU time of the agent, in seconds.")
MEMORY = Metric("tulle_agent_resident_memory_bytes", Kind.GAUGE, "Resident memory of the agent.")
STARTED = Metric("tulle_agent_start_time_seconds", Kind.GAUGE, "When the agent started, Unix time.")

AGENT_METRICS: tuple[Metric, ...] = (
    PROXY_UP,
    WANTED,
    PROBLEMS,
    POD_READY,
    POD_RESTARTS,
    SENT,
    DROPPED,
    REQUESTS,
    OCTETS,
    WAITING,
    SPOOL,
    LAST,
    CPU,
    MEMORY,
    STARTED,
)
"""In the order of the exposition."""

OUTCOMES = ("taken", "refused", "later")
REASONS = ("refused", "too-old", "spool-full")
"""As `tulle.telemetry.delivery` has them, which is not imported while nothing is pushed. Each is shown from the start: what begins at one is seen to have increased by none."""

Samples = Iterable[tuple[Sequence[str], float]]


@dataclass(slots=True)
class PushCounts:
    """What came of pushing, since the agent started."""

    sent: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """By reason."""
    requests: Counter[str] = field(default_factory=Counter)
    """By outcome."""
    octets: int = 0
    last_success: float = 0.0
    """Unix seconds; 0: never."""


def exposition(node: Node, push: PushCounts | None, waiting: tuple[int, int], started: float) -> str:
    """What the agent knows of the node and of itself; of the push only where there is one."""
    samples: dict[Metric, Samples] = {
        PROXY_UP: _one(int(node.proxy.reachable)),
        WANTED: _one(node.generation),
        PROBLEMS: _one(len(node.problems)),
        POD_READY: [((pod.name,), int(pod.state == "ready")) for pod in node.seen.pods],
        POD_RESTARTS: [((pod.name,), pod.restarts) for pod in node.seen.pods],
        CPU: _one(time.process_time()),
        MEMORY: _one(_resident_bytes()),
        STARTED: _one(started),
    }
    if push is not None:
        samples |= {
            SENT: _one(push.sent),
            DROPPED: [((reason,), push.dropped[reason]) for reason in REASONS],
            REQUESTS: [((outcome,), push.requests[outcome]) for outcome in OUTCOMES],
            OCTETS: _one(push.octets),
            WAITING: _one(waiting[0]),
            SPOOL: _one(waiting[1]),
            LAST: _one(push.last_success),
        }
    return (
        "\n".join(line for metric in AGENT_METRICS if metric in samples for line in written(metric, samples[metric]))
        + "\n"
    )


def _one(value: float) -> Samples:
    return [((), value)]


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
