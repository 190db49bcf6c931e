"""What the agent answers: status, history, the outcome of an apply. Read by the CLI and by anybody's scripts."""

import enum

import msgspec

from tulle.wire.plan import DoorState, PodState
from tulle.wire.upgrade import ProxyState, Stage


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer. Readers ignore fields that they do not know: agent and CLI may differ in age."""


class Fault(Answer, frozen=True):
    """One thing wrong in a manifest."""

    code: str
    message: str
    file: str = ""
    line: int = 0
    """Counted from one; 0 when no line is to blame."""
    hint: str = ""


class Difference(enum.StrEnum):
    """How a named part of the mesh differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Change(Answer, frozen=True):
    """A named part of the mesh that differs between two revisions."""

    what: str
    """`service`, `policy`, `backend`, `caller`, `door`, `pod` or `mesh`."""
    name: str
    how: Difference
    details: tuple[str, ...] = ()
    """`path: old → new`, for what changed."""


class Outcome(enum.StrEnum):
    """What an apply, a dry run or a rollback comes to."""

    IN_FORCE = "in-force"
    UNCHANGED = "unchanged"
    """It says what was in force before."""
    VALID = "valid"
    """A dry run; nothing was changed."""
    PENDING = "pending"
    """The proxy does not answer yet."""
    REFUSED = "refused"
    """By the proxy."""
    INVALID = "invalid"
    """The manifests have problems."""


class Applied(Answer, frozen=True):
    """What became of an apply, a dry run or a rollback."""

    outcome: Outcome
    generation: int
    """In force or pending; for the others, the one that stays."""
    changes: tuple[Change, ...] = ()
    problems: tuple[Fault, ...] = ()
    """Why it is invalid or refused."""
    warnings: tuple[Fault, ...] = ()
    """What is in force and yet not as wanted: a port that another program has."""


class RevisionState(enum.StrEnum):
    """How far a revision has come."""

    IN_FORCE = "in-force"
    ACCEPTED = "accepted"
    """The proxy took it once, and serves another now."""
    REFUSED = "refused"
    """By the proxy."""
    NEW = "new"
    """The proxy has not said."""


class RevisionLine(Answer, frozen=True):
    """A line of the history."""

    number: int
    """Also its generation."""
    time: float
    """Unix seconds."""
    author: str
    why: str
    state: RevisionState
    fault: str = ""
    """Why the proxy refused it."""


class Refusal(Answer, frozen=True, kw_only=True):
    """A request that the proxy answered by itself, as long as it is remembered. Long texts are cut."""

    id: str
    """Its `x-request-id`."""
    time: float
    """Unix seconds."""
    generation: int
    """Of the snapshot that it was judged by."""
    source: str
    """Service that called; `anonymous` when nobody could be attested."""
    pod: str
    """The caller's, `namespace/workload`; empty when it has none."""
    destination: str
    port: int
    """Of the service, as dialled; 0 where nothing is declared."""
    method: str
    """Empty for what was no valid request; so are host and path."""
    host: str
    path: str
    reason: str
    """A code of `tulle.wire.reason`."""
    policy: str
    """That decided, when one did."""
    trace: str = ""
    """Its W3C trace-id; empty when it has none."""


class PodLine(Answer, frozen=True):
    """A pod as the supervisor sees it; see `tulle.wire.plan.PodStatus`."""

    name: str
    state: PodState
    pid: int
    restarts: int
    since: float
    why: str = ""
    way: str = ""


class DoorLine(Answer, frozen=True):
    """A port of the host that leads into the mesh."""

    port: int
    service: str
    """`namespace/service`."""
    state: DoorState = DoorState.UNTRIED
    why: str = ""
    """The kernel's words about what is not open; it is tried again every few seconds."""
    holder: str = ""
    """Which program has it, where that can be seen."""


class AttachedLine(Answer, frozen=True):
    """An attached workload; see `tulle.wire.plan.AttachedStatus`."""

    name: str
    is_known: bool
    why: str = ""
    since: float = 0.0
    squatted: tuple[int, ...] = ()
    """Its ports at which the proxy found another program when it last dialled them: nothing was sent there."""
    holders: tuple[str, ...] = ()
    """Who listens at each of them now, where that can be seen."""


class AddressLine(Answer, frozen=True):
    """An address on the box's loopback by which attached workloads cannot reach the mesh; see `tulle.wire.plan.AddressStatus`."""

    address: str
    state: DoorState
    why: str = ""
    holder: str = ""
    remedy: str = ""


class MetricsLine(Answer, frozen=True):
    """Where Prometheus scrapes."""

    address: str = ""
    """Host and port; the path is /metrics."""
    why: str = ""
    """Why it is not port 15020."""


class PushLine(Answer, frozen=True):
    """How metrics leave."""

    url: str
    failing_since: float = 0.0
    """Unix seconds; 0: it does not fail."""
    why: str = ""
    """The receiver's last words, or the kernel's, while it fails."""
    last_success: float = 0.0
    """Unix seconds; 0: never since the agent started."""
    waiting_samples: int = 0
    waiting_bytes: int = 0
    dropped: dict[str, int] = {}
    """Samples that never arrive, by reason, since the agent started."""
    notes: tuple[str, ...] = ()
    """About the spool, such as a full disk."""


class ProxyLine(Answer, frozen=True):
    """The data plane, seen from the agent."""

    reachable: bool
    generation: int
    """The one that it serves; 0 for none."""


class ProxyProcess(Answer, frozen=True):
    """One proxy process; see `tulle.wire.upgrade.ProxyStatus`."""

    pid: int
    """0 while it is being started again."""
    state: ProxyState
    version: str = ""
    since: float = 0.0
    until: float = 0.0
    """Unix time at which what it still serves is cut, while it drains."""


class Ordered(Answer, frozen=True):
    """An upgrade has begun."""

    upgrade: str
    """Its id, as the status has it."""


class UpgradeLine(Answer, frozen=True):
    """What became of the last upgrade of this mesh's processes."""

    id: str = ""
    """Empty: there was none since the supervisor started."""
    stage: Stage = Stage.NONE
    why: str = ""
    """Why it failed."""
    seconds: float = 0.0
    """From the order until the new proxy served."""


class NodeStatus(Answer, frozen=True, kw_only=True):
    """How the node is."""

    mesh: str
    version: str
    ready: bool
    """The wanted generation is in force and every pod is ready."""
    generation: int
    """Wanted; 0 while there is none."""
    waits_for: tuple[str, ...] = ()
    """What `ready` still lacks, in words."""
    agent_pid: int
    supervisor_pid: int
    since: float
    """Start of the agent, Unix seconds."""
    proxy: ProxyLine
    pods: tuple[PodLine, ...] = ()
    doors: tuple[DoorLine, ...] = ()
    attached: tuple[AttachedLine, ...] = ()
    closed_addresses: tuple[AddressLine, ...] = ()
    """Attached workloads reach what is there otherwise, or not at all."""
    metrics: MetricsLine = MetricsLine()
    proxies: tuple[ProxyProcess, ...] = ()
    """The one that serves, or shall, first; during an upgrade another one."""
    upgrade: UpgradeLine = UpgradeLine()
    supervisor_version: str = ""
    """Of the code that the supervisor was started from; `version` is the agent's."""
    push: PushLine | None = None
    """None when metrics are not pushed."""
    problems: tuple[Fault, ...] = ()
    """Of the manifests as they are now; the wanted generation is not touched by them."""
    notes: tuple[str, ...] = ()
    """What else a person should know, such as a full disk."""
