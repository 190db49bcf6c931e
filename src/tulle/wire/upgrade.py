"""What agent and supervisor say of proxies that take each other's place: of the standard library alone, one JSON object a line.

agent → supervisor: `Upgrade`. supervisor → agent: `Proxies`, whole, each time it changes. They go between plans and reports;
who does not know such a line leaves it unread.
"""

import enum
import json
from typing import Any, NamedTuple

LONGEST_DRAIN_SECONDS = 604_800.0
"""A week: who still streams then was left behind long ago."""


class Upgrade(NamedTuple):
    """Start a proxy from the code that is on disk now; it takes over, the old one drains. Then the agent likewise."""

    upgrade: str
    """Names this order in what is said of it."""
    drain_seconds: float
    """How long the old one may take to end what it serves; LONGEST_DRAIN_SECONDS at most."""
    ready_seconds: float
    """How long the new one may take to serve; else it is ended, and the old one goes on."""
    hurry: bool = False
    """Cut what still drains for an earlier order. Else such an order is refused."""


class ProxyState(enum.StrEnum):
    """Where a proxy process is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    """It accepts nothing, and serves what it has until that ends or its time is over."""


class ProxyStatus(NamedTuple):
    """One proxy process."""

    pid: int
    """0: it has ended and is being started again."""
    state: ProxyState
    version: str
    """Of its code; empty until it has said so."""
    since: float
    """Unix time of the last change of state."""
    admin: str
    """File name of its own admin socket in the runtime directory; `admin.sock` leads to the one that serves."""
    until: float = 0.0
    """Unix time at which it is cut, while it drains."""


class Stage(enum.StrEnum):
    """How far the last upgrade has come."""

    NONE = ""
    STARTING = "starting"
    """The new proxy does not serve yet; the old one does."""
    DRAINING = "draining"
    """The new one serves, the old one drains."""
    DONE = "done"
    FAILED = "failed"
    """The old one goes on."""


class Proxies(NamedTuple):
    """All proxies there are, and what became of the last upgrade."""

    proxies: list[ProxyStatus]
    """The one that serves, or shall, first."""
    supervisor: str
    """Version of the supervisor's code; empty before the supervisor has said."""
    upgrade: str = ""
    """The order's name; empty before the first."""
    stage: Stage = Stage.NONE
    why: str = ""
    """Why it failed."""
    seconds: float = 0.0
    """From the order until the new one served."""

    @property
    def has_newcomer(self) -> bool:
        """One is started that shall take the place of the one that serves."""
        return any(one.state is ProxyState.STARTING for one in self.proxies[1:])

    @property
    def is_settled(self) -> bool:
        """There is one proxy and no other: a new one may be asked for."""
        return len(self.proxies) < 2


def decode_upgrade(line: bytes) -> Upgrade | None:
    """None for a line of another kind. Raises ValueError or TypeError for an order that is none."""
    if not line.startswith(b'{"upgrade":'):
        return None
    return Upgrade(**json.loads(line))


def decode_proxies(line: bytes) -> Proxies | None:
    """None for a line of another kind. Raises ValueError, TypeError or KeyError for what says nothing of proxies."""
    if not line.startswith(b'{"proxies":'):
        return None
    raw: dict[str, Any] = json.loads(line)
    proxies = [ProxyStatus(**{**one, "state": ProxyState(one["state"])}) for one in raw.pop("proxies")]
    return Proxies(**{**raw, "proxies": proxies, "stage": Stage(raw.get("stage", ""))})
