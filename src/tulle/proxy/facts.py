"""Whose a socket is: the supervisor's facts about users and control groups, laid out for one look at each connection."""

from __future__ import annotations

from typing import Final, final

from tulle.kit.sock_diag import OVERFLOW_UID

MAX_STRANGERS: Final = 4096
"""Control groups remembered as nobody's; beyond, the oldest is forgotten."""


@final
class Fact:
    """The sockets of one workload."""

    __slots__ = ("cgroups", "uid")

    def __init__(self, uid: int, cgroups: list[int] | None) -> None:
        self.uid = uid
        """-1: any."""
        self.cgroups = cgroups
        """None: any; empty: there is none now."""

    def is_as(self, other: Fact) -> bool:
        """Says the same."""
        return self.uid == other.uid and self.cgroups == other.cgroups


@final
class Facts:
    """By user and control group before control group alone before user alone. What two workloads claim is nobody's."""

    def __init__(self, sees_all_users: bool) -> None:
        self._sees_all_users = sees_all_users
        """Else the overflow uid may be anybody's, and is nobody's."""
        self._facts: dict[str, Fact] = {}
        self._by_both: dict[tuple[int, int], str] = {}
        self._by_cgroup: dict[int, str] = {}
        self._by_uid: dict[int, str] = {}
        self._cgroups: set[int] = set()
        """Every id that was told."""
        self._is_by_cgroup = False
        """Some workload is recognised by its control group alone, whoever the user is."""
        self._grouped_uids: set[int] = set()
        """Users that are recognised together with a control group."""
        self._strangers: dict[int, None] = {}

    def __contains__(self, workload: str) -> bool:
        return workload in self._facts

    @property
    def workloads(self) -> list[str]:
        """All that are attached."""
        return sorted(self._facts)

    def tell(self, workload: str, uid: int, cgroups: list[int] | None) -> bool:
        """These are its sockets from now on; whether that is new."""
        fact = Fact(uid, cgroups)
        known = self._facts.get(workload)
        if known is not None and known.is_as(fact):
            return False
        self._facts[workload] = fact
        self._lay_out()
        return True

    def drop(self, workload: str) -> bool:
        """No socket is its any more; whether any was."""
        if self._facts.pop(workload, None) is None:
            return False
        self._lay_out()
        return True

    def recognise(self, uid: int, cgroup: int) -> str:
        """The workload; empty: nobody. A control group below 0 is unknown: it may be any."""
        is_named = uid >= 0 and (uid != OVERFLOW_UID or self._sees_all_users)
        if is_named:
            both = self._by_both.get((uid, cgroup))
            if both is not None:
                return both
        found = self._by_cgroup.get(cgroup)
        if found is not None:
            return found
        if cgroup < 0:
            return self.of_user(uid) if is_named else ""
        return self._by_uid.get(uid, "") if is_named else ""

    def of_user(self, uid: int) -> str:
        """The workload that every socket of this user is; empty: there is none, or some may be another's by their control group."""
        return self._by_uid.get(uid, "") if not self._is_by_cgroup and uid not in self._grouped_uids else ""

    def is_doubtful(self, uid: int, cgroup: int) -> bool:
        """It was not told whose this control group is, and it may be that of a workload that was started anew."""
        if not self._is_by_cgroup and uid not in self._grouped_uids:
            return False
        return cgroup >= 0 and cgroup not in self._cgroups and cgroup not in self._strangers

    def remember_stranger(self, cgroup: int) -> None:
        """It was looked at, and is nobody's; remembered until the facts change."""
        if len(self._strangers) >= MAX_STRANGERS:
            del self._strangers[next(iter(self._strangers))]
        self._strangers[cgroup] = None

    def may_stay(self, workload: str, uid: int, cgroup: int) -> bool:
        """Whether a connection that was this workload's still is.

        A control group that is no more has no process left, and its id never comes back: what was its stays its.
        """
        fact = self._facts.get(workload)
        if fact is None:
            return False
        now = self.recognise(uid, cgroup)
        if now:
            return now == workload
        return fact.cgroups is not None and fact.uid in (-1, uid) and cgroup not in self._cgroups

    def _lay_out(self) -> None:
        self._by_both.clear()
        self._by_cgroup.clear()
        self._by_uid.clear()
        self._cgroups.clear()
        self._grouped_uids.clear()
        self._strangers.clear()
        self._is_by_cgroup = False
        for workload, fact in self._facts.items():
            uid, cgroups = fact.uid, fact.cgroups
            if cgroups is None:
                if uid >= 0:
                    self._by_uid[uid] = "" if uid in self._by_uid else workload
                continue
            self._cgroups.update(cgroups)
            if uid >= 0:
                self._grouped_uids.add(uid)
            else:
                self._is_by_cgroup = True
            for cgroup in cgroups:
                if uid < 0:
                    self._by_cgroup[cgroup] = "" if cgroup in self._by_cgroup else workload
                else:
                    both = (uid, cgroup)
                    self._by_both[both] = "" if both in self._by_both else workload
