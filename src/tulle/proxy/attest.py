"""Attests who is at the other end of a connection on this box: one look-up, one strict rule; what fails it is anonymous.

The kernel is asked about the caller's end, and then about ours: while ours lives the kernel lets no second connection have the
same addresses and ports, so the answer was about this one. See SECURITY.md for what that defeats.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, final

from tulle.kit.sock_diag import CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, Owner, Place, SockDiag
from tulle.proxy.arrival import Register
from tulle.proxy.facts import Facts
from tulle.proxy.loop import Dispatcher
from tulle.proxy.wheel import NEVER, Alarm, Timed

WAIT_SECONDS: Final = 0.25
"""How long a connection waits for the supervisor to look."""
LOOK_EVERY: Final = 0.1
"""Seconds between looks that are asked for; one answers all who wait."""
LOOK_LOST: Final = 1.0
"""A look that was not answered by then is asked for again."""
MAX_WAITING: Final = 256
MAX_WAITING_OF_USER: Final = 32

_ALIVE: Final = (ESTABLISHED, CLOSE_WAIT)
_HELD: Final = (ESTABLISHED, FIN_WAIT1, FIN_WAIT2)


@final
class Who:
    """Who a socket is."""

    __slots__ = ("cgroup", "uid", "workload")

    def __init__(self, workload: str, uid: int, cgroup: int) -> None:
        self.workload = workload
        """`namespace/workload`; empty: anonymous."""
        self.uid = uid
        """Of the kernel; -1: unknown."""
        self.cgroup = cgroup

    def __repr__(self) -> str:
        return f"Who({self.workload or 'anonymous'}, uid {self.uid}, cgroup {self.cgroup})"


NOBODY: Final = Who("", -1, 0)
Welcome = Callable[[socket.socket, Who], None]
"""Takes a connection whose caller has been attested, or could not be."""


class Waiter(Timed):
    """Waits until the supervisor has looked at the control groups."""

    def __init__(self) -> None:
        super().__init__()
        self.uid = -1
        self.cgroup = 0
        """Whose control group is in doubt; set by `Attestor.wait`."""
        self.is_asked_for = False
        """A look that began after it came is on its way."""

    def on_facts(self) -> None:
        """Judges again. What is in doubt still was not looked at in time."""
        raise NotImplementedError


@final
class Attestor:
    """Says whose connections are, by facts of the supervisor and answers of the kernel."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        register: Register,
        diag: SockDiag,
        facts: Facts,
        ask: Callable[[], bool],
    ) -> None:
        self.facts = facts
        self.diag = diag
        self._dispatcher = dispatcher
        self._register = register
        self._ask = ask
        """Has the supervisor look; False: it cannot be told now."""
        self._waiting: list[Waiter] = []
        self._asked_at = -LOOK_LOST
        self._is_asking = False
        self._alarm_at = NEVER
        """When somebody is looked for who waits then and was not looked for before."""

    def attest(self, sock: socket.socket, theirs: Place, ours: Place, welcome: Welcome) -> None:
        """Calls `welcome` with who is at the other end; perhaps before it returns, at the latest when a look is overdue.

        `ours` is what the caller dialled, before any redirect.
        """
        owner = self.owner(sock, theirs, ours)
        if owner is None:
            welcome(sock, NOBODY)
            return
        uid, cgroup = owner.uid, owner.cgroup
        if not self.facts.is_doubtful(uid, cgroup):
            welcome(sock, Who(self.facts.recognise(uid, cgroup), uid, cgroup))
        elif not self.wait(ParkedCaller(self, sock, theirs, ours, welcome), uid, cgroup):
            welcome(sock, Who("", uid, cgroup))

    def owner(self, sock: socket.socket, theirs: Place, ours: Place) -> Owner | None:
        """Who made the socket at the other end of `sock`; None where that cannot be proven. Never root by mistake."""
        owner = self.diag.connection(theirs, ours)
        if owner is None or not owner.is_same or owner.inode == 0:
            return None
        return owner if owner.state in _HELD and is_alive(sock) else None

    def wait(self, waiter: Waiter, uid: int, cgroup: int) -> bool:
        """Has `on_facts` called once the supervisor has looked, or at the deadline. False: too many wait."""
        waiter.uid = uid
        waiter.cgroup = cgroup
        if len(self._waiting) >= MAX_WAITING or sum(one.uid == uid for one in self._waiting) >= MAX_WAITING_OF_USER:
            return False
        waiter.deadline = self._dispatcher.now + WAIT_SECONDS
        self._waiting.append(waiter)
        self._dispatcher.soon(waiter, waiter.deadline)
        self._look()
        return True

    def overdue(self, waiter: Waiter) -> None:
        """Its deadline has come."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            waiter.deadline = NEVER
            waiter.on_facts()

    def take(self, kind: str, workload: str, uid: int, cgroups: list[int] | None) -> None:
        """A fact of the supervisor: `attached`, `detached` or `looked`."""
        if kind == "looked":
            self._is_asking = False
            self._settle([one for one in self._waiting if one.is_asked_for])
            if self._waiting:
                self._look()
        elif self.facts.tell(workload, uid, cgroups) if kind == "attached" else self.facts.drop(workload):
            self._cut()

    def settle(self) -> None:
        """Nobody is to wait any longer: a control group in doubt is nobody's."""
        self._settle(list(self._waiting))

    def _settle(self, waiters: list[Waiter]) -> None:
        facts = self.facts
        for one in waiters:
            self._waiting.remove(one)
            one.deadline = NEVER
            if facts.is_doubtful(one.uid, one.cgroup):
                facts.remember_stranger(one.cgroup)
        for one in waiters:
            try:
                one.on_facts()
            except Exception:  # noqa: BLE001  (one defect must not keep the others waiting)
                self._dispatcher.defect(None)
                one.give_up()

    def _look(self) -> None:
        """Asks for a look, now or as soon as may be."""
        now = self._dispatcher.now
        free = self._asked_at + (LOOK_LOST if self._is_asking else LOOK_EVERY)
        if now >= free:
            self._asked_at = now
            self._is_asking = self._ask()
            for one in self._waiting:
                one.is_asked_for = one.is_asked_for or self._is_asking
        elif free < self._alarm_at:
            self._alarm_at = free
            self._dispatcher.soon(Alarm(free, self._ring), free)

    def _ring(self, now: float) -> None:
        if now >= self._alarm_at:
            self._alarm_at = NEVER
        if any(not one.is_asked_for for one in self._waiting):
            self._look()

    def _cut(self) -> None:
        """Ends connections of who is not any more who it was."""
        for connection in list(self._register.connections):
            arrival = connection.arrival
            if arrival.pod and arrival.uid >= 0 and not self.facts.may_stay(arrival.pod, arrival.uid, arrival.cgroup):
                connection.disown()


class Parked(Waiter):
    """A connection whose octets wait in the kernel. Who made it is known for good; whose that is, is not."""

    def __init__(self, attestor: Attestor, sock: socket.socket, welcome: Welcome) -> None:
        super().__init__()
        self._attestor = attestor
        self._sock = sock
        self._welcome = welcome

    def on_facts(self) -> None:
        facts = self._attestor.facts
        uid, cgroup = self.uid, self.cgroup
        workload = "" if facts.is_doubtful(uid, cgroup) else facts.recognise(uid, cgroup)
        self._welcome(self._sock, Who(workload, uid, cgroup))

    def on_deadline(self, now: float) -> None:
        self._attestor.overdue(self)

    def give_up(self) -> None:
        self._sock.close()


@final
class ParkedCaller(Parked):
    """One by TCP: who made it is as of one look-up."""

    def __init__(self, attestor: Attestor, sock: socket.socket, theirs: Place, ours: Place, welcome: Welcome) -> None:
        super().__init__(attestor, sock, welcome)
        self._theirs = theirs
        self._ours = ours

    def on_facts(self) -> None:
        """Asks the kernel anew: the caller may have left, and another come."""
        owner = self._attestor.owner(self._sock, self._theirs, self._ours)
        if owner is None:
            self._welcome(self._sock, NOBODY)
            return
        self.uid, self.cgroup = owner.uid, owner.cgroup
        super().on_facts()


def is_alive(sock: socket.socket) -> bool:
    """Our end is connected still: no other connection can have its addresses and ports."""
    try:
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return False
    return state in _ALIVE


def sees_all_users(uid_map: str) -> bool:
    """Whether a process with this /proc/PID/uid_map has a name for every user of the box."""
    return uid_map.split() == ["0", "0", "4294967295"]
