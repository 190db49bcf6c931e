"""Who calls what: how a connection came, and what its requests share."""

from __future__ import annotations

from typing import Final, final

from tulle.core.backends import RouteTable
from tulle.core.policies import CallerRef
from tulle.core.tables import ServicePortTable, Tables
from tulle.core.verdict import Allow, Deny
from tulle.http.h2.encoder import Known
from tulle.http.opening import Opening
from tulle.proxy.alike import Alike
from tulle.proxy.counters import Pair
from tulle.proxy.judged import Judged

UNKNOWN: Final = "unknown"
"""Destination label of what is not declared."""
FORWARD: Final = "forward-proxy"
"""Destination label of connections to the forward proxy, and of what says there no destination."""
FORWARD_PATH: Final = "forward-path"
"""Where connections came to that dialled the forward proxy by its path."""


@final
class Arrival:
    """How a connection came: by a pod's listener, with the address it meant, by a door, or to the forward proxy."""

    __slots__ = ("address", "cgroup", "pod", "port", "uid")

    def __init__(self, pod: str, address: str, port: int, uid: int = -1, cgroup: int = 0) -> None:
        self.pod = pod
        """`namespace/workload`; empty: anonymous."""
        self.address = address
        """The virtual address that was dialled, FORWARD or FORWARD_PATH; empty: by a door."""
        self.port = port
        """The port that was dialled, or the door's."""
        self.uid = uid
        """Of the user who made the caller's socket, where the kernel was asked; -1: it was not, or did not say."""
        self.cgroup = cgroup
        """Likewise: the id of the control group where it was made."""

    @property
    def counted_as(self) -> str:
        """Whose connection it is to limits: a workload's, all doors', or those of a user of the box whom nobody attested."""
        return self.pod if self.pod or not self.address else f"uid {self.uid}"

    def as_anonymous(self) -> Arrival:
        """The same from nobody."""
        return Arrival("", self.address, self.port, self.uid, self.cgroup)

    def to(self, address: str, port: int) -> Arrival:
        """The same caller, had it dialled this."""
        return Arrival(self.pod, address, port, self.uid, self.cgroup)


@final
class Lane:
    """One caller to one service port, in one generation: what its requests share."""

    def __init__(
        self,
        tables: Tables,
        caller: CallerRef,
        port: ServicePortTable | None,
        is_forward: bool = False,
        takes_host: bool = False,
    ) -> None:
        self.tables = tables
        self.caller = caller
        self.port = port
        """None: nothing is declared there."""
        self.is_forward = is_forward
        """It came to the forward proxy: the next request of the same connection may name another service."""
        self.takes_host = takes_host
        """It came by the path: what names no host in its target means that of Host. There is no address to be confused with."""
        self.source = caller.service
        self.destination = port.service if port is not None else UNKNOWN
        self.memo: dict[bytes, Judged] = {}
        self.opening: Opening | None = None
        """What the fields of heads that came here last begin with."""
        self.stray = b""
        """The last head that began otherwise."""
        self.decisions: dict[tuple[str, bytes, bytes, str], Decision] = {}
        """By method, target, authority and protocol: what no other field has a say in."""
        self.by_path: dict[tuple[str, str, bytes], Decision] = {}
        """The same of HTTP/1.1, by method, path and authority: where the path goes on as it came the query has no say either."""
        self.alike: dict[Opening, dict[bytes, Alike | None]] = {}
        """By how their fields begin, and by method and path as a head begins with them. None: heads are judged one by one."""
        self._pairs: dict[tuple[str, str], dict[str, Pair]] = {}

    def pairs_of(self, route: RouteTable | None, protocol: str) -> dict[str, Pair]:
        """Where requests by this route and protocol are counted, by backend name; filled by who counts."""
        key = (route.name if route is not None else "", protocol)
        found = self._pairs.get(key)
        if found is None:
            found = self._pairs[key] = {}
        return found


@final
class Decision:
    """What was decided by what is asked, of whom, alone; and that as fields to send."""

    __slots__ = ("asked", "pairs", "route", "target", "verdict")

    def __init__(
        self,
        verdict: Allow | Deny,
        route: RouteTable | None,
        target: bytes,
        pairs: dict[str, Pair],
        asked: Known | None,
    ) -> None:
        self.verdict = verdict
        self.route = route
        self.target = target
        self.pairs = pairs
        self.asked = asked
