"""Attached workloads: from users, units and control groups by name to the numbers that the kernel gives with a socket.

Control groups are looked up when the plan says so, when the proxy met one that it was not told of, and now and then: a unit
that is started again has a new one. A user is asked for by name until there is one, and then not again before the next plan:
where users come from a directory in the network, asking takes as long as that does, and nothing else happens meanwhile.
"""

import os
import pwd
import time
from collections.abc import Callable
from typing import NamedTuple

from tulle.kit.users import OVERFLOW_UID
from tulle.supervisor import cgroups
from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.loop import Loop, Timer
from tulle.wire.plan import AttachedStatus, AttachSpec

LOOK_SECONDS = 5.0
"""Between looks by ourselves, while anything is attached by its control group, or is not there."""


class Facts(NamedTuple):
    """What the kernel says of sockets that are a workload's."""

    uid: int
    """-1: any."""
    cgroups: list[int] | None
    """Ids; None: any."""


NONE = Facts(-1, [])
"""Of what is not there: no socket at all."""


def uid_named(name: str) -> int:
    """As the box's accounts have it. Raises LookupError."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise LookupError(f"no user named {name}") from None


class Recognition:
    """Keeps the proxy told of what is attached."""

    def __init__(
        self,
        loop: Loop,
        proxy: ProxyLink,
        say: Callable[[str], None],
        changed: Callable[[], None],
        find_uid: Callable[[str], int] = uid_named,
    ) -> None:
        """`find_uid` raises LookupError for a name that no user has."""
        self._loop = loop
        self._proxy = proxy
        self._say = say
        self._changed = changed
        self._find_uid = find_uid
        self._specs: list[AttachSpec] = []
        self._uids: dict[str, int] = {}
        """By name, as far as they are known."""
        self._told: dict[str, Facts] = {}
        self._statuses: dict[str, AttachedStatus] = {}
        self._timer: Timer | None = None

    @property
    def statuses(self) -> list[AttachedStatus]:
        """Of every attached workload, by name."""
        return [self._statuses[name] for name in sorted(self._statuses)]

    def want(self, specs: list[AttachSpec]) -> None:
        """Exactly these are attached. What is recognised otherwise than before is told to be gone first: its connections end."""
        before = {spec.name: spec for spec in self._specs}
        wanted = {spec.name: spec for spec in specs}
        self._specs = specs
        self._uids.clear()
        for name in [one for one in self._told if wanted.get(one) != before.get(one)]:
            del self._told[name], self._statuses[name]
            self._proxy.detached(name)
        self.look()

    def look(self) -> None:
        """Looks everything up again, and tells what is new."""
        if self._timer:
            self._timer.cancel()
        is_grouped = any(spec.unit or spec.cgroup for spec in self._specs)
        found = find(self._specs, cgroups.tree() if is_grouped else "", self._uid)
        for name, (facts, why) in found.items():
            if self._told.get(name) != facts:
                self._told[name] = facts
                self._proxy.attached(name, facts.uid, facts.cgroups)
            self._note(name, why)
        if is_grouped or any(why for _, why in found.values()):
            self._timer = self._loop.later(LOOK_SECONDS, self.look)

    def answer(self) -> None:
        """The proxy met a group that it was not told of."""
        self.look()
        self._proxy.looked()

    def _uid(self, name: str) -> int:
        if name not in self._uids:
            self._uids[name] = self._find_uid(name)
        return self._uids[name]

    def _note(self, name: str, why: str) -> None:
        before = self._statuses.get(name)
        if before is None or before.why != why:
            self._statuses[name] = AttachedStatus(name, not why, why, time.time())
            if why:
                self._say(f"{name} is not recognised: {why}")
            elif before is not None:
                self._say(f"{name} is recognised now")
            self._changed()


def find(
    specs: list[AttachSpec], root: str, find_uid: Callable[[str], int] = uid_named
) -> dict[str, tuple[Facts, str]]:
    """Facts of each, and why there are none. A group within two attached ones belongs to the inner."""
    found: dict[str, tuple[Facts, str]] = {}
    homes: dict[str, tuple[str, dict[int, str]]] = {}
    for spec in specs:
        try:
            uid = _uid(spec.uid, find_uid)
            if spec.unit or spec.cgroup:
                homes[spec.name] = _home(root, spec)
            found[spec.name] = Facts(uid, None), ""
        except (LookupError, cgroups.NoGroup) as fault:
            found[spec.name] = NONE, str(fault.args[0])
    innermost: dict[int, int] = {}
    for home, groups in homes.values():
        for one in groups:
            innermost[one] = max(innermost.get(one, 0), len(home))
    for name, (home, groups) in homes.items():
        facts, why = found[name]
        if not why:
            found[name] = facts._replace(cgroups=sorted(one for one in groups if innermost[one] == len(home))), ""
    return found


def _home(root: str, spec: AttachSpec) -> tuple[str, dict[int, str]]:
    if not root:
        raise cgroups.NoGroup("this box has no cgroup2 tree")
    home = spec.cgroup or cgroups.find_unit(root, spec.unit, os.getuid())
    return home, cgroups.groups_of(root, home, os.getuid())


def _uid(written: str, find_uid: Callable[[str], int]) -> int:
    """Raises LookupError."""
    if not written:
        return -1
    uid = int(written) if written.isdecimal() else find_uid(written)
    if uid == OVERFLOW_UID:
        raise LookupError(
            "nobody is what the kernel calls users that it cannot name: give the service a user of its own"
        )
    return uid
