"""Reaches attached endpoints: nothing is sent before the kernel has said that the workload itself is at the other end.

Whoever listens on a port of the box is asked for before it is dialled, so that a squatter hears nothing of a call; and the peer once it is
connected, so that one who came in between hears no octet.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Final, final

from tulle.core.backends import EndpointRef
from tulle.kit.sock_diag import CLOSE_WAIT, ESTABLISHED, SYN_RECV, Owner, Place, place_of
from tulle.proxy.attest import Attestor, Waiter, is_alive
from tulle.proxy.connecting import connect_now, new_socket
from tulle.proxy.relay import Relay
from tulle.proxy.wheel import NEVER

LOOPBACK: Final = ("127.0.0.1", "::1")
POLL: Final = 0.01
"""Seconds between looks at a connection that the other side has not taken yet."""
SAY_EVERY: Final = 60.0
"""Seconds between entries of the log about one workload."""
_HELD: Final = (ESTABLISHED, CLOSE_WAIT)

Arrive = Callable[[socket.socket | None], None]


@final
class AttachedDialer:
    """Makes connections to attached endpoints; without a task, and nearly always at once."""

    def __init__(self, relay: Relay, attestor: Attestor, report: Callable[[str], None]) -> None:
        self.relay = relay
        self.attestor = attestor
        self.first: dict[EndpointRef, int] = {}
        """Index into LOOPBACK of the address that an endpoint was last reached at."""
        self._report = report
        self._said: dict[str, float] = {}
        """When something was last said of a workload."""

    def dial(self, endpoint: EndpointRef, arrive: Arrive) -> None:
        """Calls `arrive` with a connected socket, or None; perhaps before it returns. `endpoint.is_squatted` says why."""
        Approach(self, endpoint, arrive).begin()

    def keep_only(self, endpoints: set[EndpointRef]) -> None:
        """Forgets what was learnt and counted about others."""
        for known in list(self.first):
            if known not in endpoints:
                del self.first[known]
        workloads = {one.workload for one in endpoints}
        for workload in [one for one in self._said if one not in workloads]:
            del self._said[workload]
        squatted = self.relay.counters.squatted
        for key in [one for one in squatted if one[0] not in workloads]:
            del squatted[key]

    def squatted(self, endpoint: EndpointRef, host: str, owner: Owner) -> None:
        """Somebody else is where the workload should be."""
        endpoint.is_squatted = True
        self.relay.counters.squat(endpoint.workload)
        self.say(
            endpoint.workload,
            f"port {endpoint.port} of {host} is held by another (uid {owner.uid}, control group {owner.cgroup}); it gets nothing",
        )

    def say(self, workload: str, what: str) -> None:
        """To the log, once a minute for each workload."""
        now = self.relay.dispatcher.now
        if now - self._said.get(workload, -SAY_EVERY) >= SAY_EVERY:
            self._said[workload] = now
            self._report(f"{workload}: {what}")


@final
class Approach(Waiter):
    """One connection to an attached endpoint, being made."""

    def __init__(self, dialer: AttachedDialer, endpoint: EndpointRef, arrive: Arrive) -> None:
        super().__init__()
        self._dialer = dialer
        self._endpoint = endpoint
        self._arrive = arrive
        self._at = dialer.first.get(endpoint, 0)
        """Index into LOOPBACK of the address that is being tried."""
        self._left = len(LOOPBACK)
        self._has_waited = False
        self._is_over = False
        self._sock: socket.socket | None = None
        self._listener: Owner | None = None
        self._until = dialer.relay.dispatcher.now + dialer.relay.limits.connect_timeout

    def begin(self) -> None:
        """Tries one loopback after the other, until one of them has the workload or nobody is left to wait for."""
        self._endpoint.is_squatted = False
        self._go_on()

    def on_facts(self) -> None:
        self._go_on()

    def on_deadline(self, now: float) -> None:
        self.deadline = NEVER
        if self._sock is None:
            self._dialer.attestor.overdue(self)
        else:
            self._go_on()

    def give_up(self) -> None:
        self._fail()
        self._give(None)

    def _go_on(self) -> None:
        while self._left:
            if self._try():
                return
            self._fail()
            self._left -= 1
            self._at = 1 - self._at
        self._give(None)

    def _try(self) -> bool:
        """One address. True: it is reached, or something is waited for."""
        place = place_of(LOOPBACK[self._at], self._endpoint.port)
        sock = self._sock
        if sock is None:
            listener = self._dialer.attestor.diag.listener(place)
            if listener is None:
                return False
            if not self._is_ours(listener.uid, listener.cgroup):
                return self._meets_another(listener)
            self._listener = listener
            try:
                sock = self._sock = new_socket(place.family)
            except OSError:  # no descriptor left
                return False
        state = connect_now(sock, (LOOPBACK[self._at], self._endpoint.port))
        if state == errno.EALREADY:
            return self._waits()
        if state:
            return False
        return self._check(sock, place)

    def _check(self, sock: socket.socket, place: Place) -> bool:
        """It is connected, and nothing has been sent."""
        dialer = self._dialer
        try:
            name = sock.getsockname()
        except OSError:
            return False
        peer = dialer.attestor.diag.connection(place, place_of(name[0], name[1]))
        if peer is None or not peer.is_same or not is_alive(sock):
            return False
        uid, cgroup = peer.uid, peer.cgroup
        listener = self._listener
        if peer.state == SYN_RECV and listener is not None:
            if not self._stands_for_all(listener):
                if self._waits():
                    return True
                dialer.say(self._endpoint.workload, "takes connections only with their first octets (TCP_DEFER_ACCEPT)")
                return False
            if not self._is_unchanged(listener, place):
                return False
            uid, cgroup = listener.uid, listener.cgroup
        elif peer.state not in _HELD:
            return False
        elif peer.inode == 0 and uid == 0 and listener is not None:
            # Linux before 6.17 names no user until it is accepted; who listens has not changed, so it is theirs.
            if not self._is_unchanged(listener, place):
                return False
            uid = listener.uid
        if not self._is_ours(uid, cgroup):
            self._fail()
            return self._meets_another(peer)
        dialer.first[self._endpoint] = self._at
        self._endpoint.is_squatted = False
        self._sock = None
        self._give(sock)
        return True

    def _is_ours(self, uid: int, cgroup: int) -> bool:
        facts = self._dialer.attestor.facts
        return not facts.is_doubtful(uid, cgroup) and facts.recognise(uid, cgroup) == self._endpoint.workload

    def _stands_for_all(self, listener: Owner) -> bool:
        """Whoever else could take a connection here meanwhile would be the workload too.

        The kernel lets only the same user listen beside: which is enough where the user alone says who it is, or is root.
        """
        by_user = self._dialer.attestor.facts.of_user(listener.uid)
        return listener.uid == 0 or by_user == self._endpoint.workload

    def _is_unchanged(self, listener: Owner, place: Place) -> bool:
        """The same socket listens still, so it did all the time."""
        now = self._dialer.attestor.diag.listener(place)
        return now is not None and now.cookie == listener.cookie

    def _meets_another(self, owner: Owner) -> bool:
        """It is not the workload, as far as is known. True: its control group is looked for; perhaps it was started anew."""
        attestor = self._dialer.attestor
        if not attestor.facts.is_doubtful(owner.uid, owner.cgroup):
            self._dialer.squatted(self._endpoint, LOOPBACK[self._at], owner)
            return False
        if self._has_waited:
            return False
        self._has_waited = True
        return attestor.wait(self, owner.uid, owner.cgroup)

    def _waits(self) -> bool:
        """Looks again soon, until the attempt has taken too long."""
        dispatcher = self._dialer.relay.dispatcher
        now = dispatcher.now
        if now >= self._until:
            return False
        self.deadline = now + POLL
        dispatcher.soon(self, self.deadline)
        return True

    def _fail(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _give(self, sock: socket.socket | None) -> None:
        if not self._is_over:
            self._is_over = True
            self._arrive(sock)
