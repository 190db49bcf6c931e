"""What the supervisor is told and tells: documents of the standard library alone, one JSON object a line.

agent → supervisor: `Plan`, whole, each time it changes. supervisor → agent: `Report`, whole, each time it changes.
supervisor → proxy: `Handover` with descriptors (SCM_RIGHTS), one datagram each.
"""

import enum
import json
from typing import Any, NamedTuple

LISTENER_PORT = 15001
"""In every pod: where the redirect brings what it dials."""
FORWARD_PORT = 15001
"""On the box's loopback of both families: the forward proxy, where anything is attached."""
METRICS_PORT = 15020
"""On the box, unless another is asked for."""
VIRTUAL_NETWORK = "127.80.0.0/16"
"""Where services have their addresses."""
AUTO, REDIRECT, ADDRESSES = "auto", "redirect", "addresses"
WAYS = (AUTO, REDIRECT, ADDRESSES)
"""How what a pod dials reaches the proxy: an nftables redirect, a listener at each virtual address, or the first where
the kernel has it."""


class Readiness(NamedTuple):
    """When a pod counts as ready: its port takes connections, or answers `path` with 200–399."""

    port: int
    path: str = ""
    """Empty: TCP."""
    startup_seconds: float = 60.0
    """Not ready by then: said in the status; it is asked more slowly."""
    timeout_seconds: float = 1.0
    """For one answer."""
    period_seconds: float = 10.0
    """Between questions once it is ready; 0: never again."""
    failure_threshold: int = 3
    """So many noes in a row make it unready: no new traffic until the next yes."""


class ContainerSpec(NamedTuple):
    """What podman runs in a pod's network. Command, environment and user are the pod's."""

    image: str
    mounts: list[list[str]] = []  # noqa: RUF012  (a NamedTuple default is copied by no one and changed by no one)
    """Source (an absolute path, or the name of a volume), target, `ro` or `rw`."""
    pull: str = "never"
    """Or `missing`."""
    memory: int = 0
    """Octets; 0: no limit."""
    cpus: float = 0.0
    """0: no limit."""


class PodSpec(NamedTuple):
    """One workload to run. A change of any field restarts it; `hosts` of the Plan does not."""

    name: str
    """`namespace/workload`."""
    namespace: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    user: str = ""
    """root only; empty: a uid of its own."""
    writable: list[str] = []  # noqa: RUF012  (a NamedTuple default is copied by no one and changed by no one)
    isolated: bool = True
    """False: a plain process on the host, anonymous to the mesh."""
    readiness: Readiness | None = None
    depends_on: list[str] = []  # noqa: RUF012
    """Pods that must be ready first."""
    stop_seconds: float = 10.0
    """From SIGTERM to SIGKILL."""
    container: ContainerSpec | None = None
    """Runs an image; an empty `argv` is the image's own command, an empty `user` its own user."""


class AttachSpec(NamedTuple):
    """Something that runs on the box without the mesh's doing, and how the kernel recognises it. What is given must all hold."""

    name: str
    """`namespace/workload`."""
    uid: str = ""
    """Name or number of a user."""
    unit: str = ""
    """A systemd unit."""
    cgroup: str = ""
    """From the root of the cgroup2 tree."""


class Plan(NamedTuple):
    """Everything that shall run."""

    generation: int
    pods: list[PodSpec]
    hosts: dict[str, str]
    """Text of /etc/hosts per namespace of the mesh."""
    doors: list[int]
    """Ports that `expose` opens on the host, all addresses of both families."""
    protected: list[str]
    """Paths that stay read-only (manifests) even inside a writable path."""
    addresses: list[str] = []  # noqa: RUF012
    """`127.80.x.y:port` of every port that may be dialled. Of use where the kernel cannot redirect, and on the box itself."""
    attached: list[AttachSpec] = []  # noqa: RUF012
    """What is recognised. With any, the addresses and the forward proxy are opened on the box."""
    access_log_bytes: int = 4 << 20
    """Of one file of the access log."""
    access_log_files: int = 3
    """How many are kept; 0: none."""


class PodState(enum.StrEnum):
    """Where a pod is in its life."""

    WAITING = "waiting"
    """For pods that it depends on."""
    STARTING = "starting"
    """It runs, and has not been ready yet."""
    READY = "ready"
    UNREADY = "unready"
    """It runs and does not answer any more."""
    BACKOFF = "backoff"
    """It has ended, and is started again after a pause."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    IMPOSSIBLE = "impossible"
    """This box refuses to make it; that is tried again."""


class DoorState(enum.StrEnum):
    """What became of a port of the host."""

    OPEN = "open"
    TAKEN = "taken"
    """By another program; tried again every few seconds, as is what is refused."""
    REFUSED = "refused"
    """By the kernel."""
    UNTRIED = ""
    """The supervisor has not said."""


class PodStatus(NamedTuple):
    """One pod as the supervisor sees it."""

    name: str
    state: PodState
    pid: int
    """On the host; 0 when not running."""
    restarts: int
    since: float
    """Unix time of the last change of state."""
    why: str = ""
    """Last exit (`exit 1`, `signal SIGKILL`) or what it waits for."""
    way: str = ""
    """How what it dials reaches the proxy: `redirect` or `addresses`; empty before its network is made, and when it has none."""


class AttachedStatus(NamedTuple):
    """An attached workload as the supervisor finds it."""

    name: str
    is_known: bool
    """Its user or cgroup is there: what it dials is recognised."""
    why: str = ""
    """Why it is not."""
    since: float = 0.0
    """Unix time of the last change."""


class AddressStatus(NamedTuple):
    """A virtual address on the box's own loopback, or one of the forward proxy's."""

    address: str
    """`127.80.x.y:port`, `127.0.0.1:15001`, `[::1]:15001`, or the path of a unix socket."""
    state: DoorState
    why: str = ""
    """The kernel's words."""
    holder: str = ""
    """Which program is in the way, where /proc tells."""
    remedy: str = ""


class DoorStatus(NamedTuple):
    """A port of the host as the supervisor found it."""

    port: int
    state: DoorState
    why: str = ""
    """The kernel's words."""
    holder: str = ""
    """Which program has it, where /proc tells."""


def blame(why: str, holder: str) -> str:
    """Why a port is not to be had, with who has it where that is known: `Address already in use, nginx (pid 8) has it`."""
    return f"{why}, {holder} has it" if holder else why


class Report(NamedTuple):
    """All that the supervisor sees."""

    generation: int
    """Of the plan that it follows; 0 before the first."""
    pods: list[PodStatus]
    doors: list[DoorStatus]
    metrics: str
    """`127.0.0.1:15020`, or another port of that address when it was taken."""
    metrics_why: str = ""
    """Why it is another."""
    attached: list[AttachedStatus] = []  # noqa: RUF012
    """Of every attached workload."""
    addresses: list[AddressStatus] = []  # noqa: RUF012
    """Those of the box that are not open."""


class Handover(NamedTuple):
    """A fact for the proxy; `kind` says whether a descriptor comes with it.

    kinds: `pod` (+fd: the listener in that pod; those at virtual addresses in the pod that had this name before are gone),
    `address` (+fd: a listener at a virtual address in a pod; name is `ns/workload@127.80.x.y:port`), `no-address` (it is no more),
    `door` (+fd: a host listener; name is the port), `ready` / `unready` (a pod), `gone` (a pod, or a door by its port),
    `attached` (a workload and the sockets that are its: of `uid`, of `cgroups`, or of both where both are given), `detached` (it is none any more),
    `looked` (answers `look`: what it found has been told), `host` (+fd: a listener at a virtual address of the box; name is
    `127.80.x.y:port`), `no-host` (it is no more), `forward` (+fd: the forward proxy's listener; name is `127.0.0.1:15001`, `[::1]:15001`
    or the path of a unix socket),
    `no-forward`,
    `synced` (all that exists has been handed over), `broker` (the broker was forked again: ask again what it has not answered).

    The proxy says one thing on the same line: `look` (a socket was made in a cgroup that it was not told of: look at them again).
    """

    kind: str
    name: str
    uid: int = -1
    """Of the kernel; -1: any."""
    cgroups: list[int] | None = None
    """Ids in the cgroup2 tree; None: any, empty: there is none now."""


def encode(document: NamedTuple) -> bytes:
    """One line of JSON, with the newline. What is as its default is left out."""
    return json.dumps(plain(document), separators=(",", ":")).encode() + b"\n"


def plain(value: object) -> object:
    """Mappings, lists and scalars; what is as its default is left out."""
    if isinstance(value, tuple) and hasattr(value, "_asdict") and hasattr(value, "_field_defaults"):
        usual = value._field_defaults
        return {k: plain(v) for k, v in value._asdict().items() if k not in usual or usual[k] != v}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def decode_plan(line: bytes) -> Plan:
    """Raises ValueError or TypeError for what is not a plan."""
    raw: dict[str, Any] = json.loads(line)
    pods = [_decode_pod(pod) for pod in raw.pop("pods")]
    attached = [AttachSpec(**one) for one in raw.pop("attached", [])]
    return Plan(pods=pods, attached=attached, **raw)


def _decode_pod(raw: dict[str, Any]) -> PodSpec:
    readiness, container = raw.pop("readiness", None), raw.pop("container", None)
    return PodSpec(
        **raw,
        readiness=Readiness(**readiness) if readiness else None,
        container=ContainerSpec(**container) if container else None,
    )


def decode_report(line: bytes) -> Report:
    """Raises ValueError, TypeError or KeyError for what is not a report."""
    raw: dict[str, Any] = json.loads(line)
    pods = [PodStatus(**{**one, "state": PodState(one["state"])}) for one in raw.pop("pods")]
    doors = [DoorStatus(**{**one, "state": DoorState(one["state"])}) for one in raw.pop("doors")]
    attached = [AttachedStatus(**one) for one in raw.pop("attached", [])]
    addresses = [AddressStatus(**{**one, "state": DoorState(one["state"])}) for one in raw.pop("addresses", [])]
    return Report(pods=pods, doors=doors, attached=attached, addresses=addresses, **raw)
