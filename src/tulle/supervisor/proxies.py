"""The proxy that serves and, through an upgrade, the one that takes its place: each with what is its alone.

A new one is started beside the old one, with the same listeners. Only when it says that it serves is the old one told to
end what it serves; until then nothing but the new one's end, or its time, can happen, and then the old one goes on.
"""

import contextlib
import functools
import os
import socket
import time
from collections.abc import Callable, Sequence

import tulle
from tulle.kit import places
from tulle.kit.listen import listen_at_path
from tulle.supervisor.broker import SEATS, Broker
from tulle.supervisor.daemon import Daemon
from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.journal import LogFile
from tulle.supervisor.loop import Loop, Timer
from tulle.wire.plan import Handover
from tulle.wire.upgrade import Proxies, ProxyState, ProxyStatus, Stage, Upgrade

_GRACE_SECONDS = 5.0
"""Beyond its deadline for a proxy that drains to cut what is left, and to end."""
_CAPS_TO_CHANGE_USER = frozenset((6, 7, 8))
"""SETGID, SETUID and SETPCAP: the proxy drops the rest of itself once it is imported."""


class Incarnation:
    """One proxy's place: a seat at the broker, an admin socket, a line. A process that dies there is started there again."""

    def __init__(
        self,
        mesh: str,
        seat: int,
        loop: Loop,
        link: ProxyLink,
        say: Callable[[str], None],
        command: "Callable[[Incarnation], tuple[Sequence[str], Sequence[int]]]",
        hear: "Callable[[Incarnation, Handover], None]",
    ) -> None:
        self.seat = seat
        """From 0 to SEATS - 1; free for another once this one is over."""
        self.admin = f"admin-{seat}.sock"
        self._path = os.path.join(places.runtime_dir(mesh), self.admin)
        self.listener = listen_at_path(self._path)
        self.state = ProxyState.STARTING
        self.version = ""
        self.since = time.time()
        self.until = 0.0
        """Unix time at which it is cut, while it drains."""
        self._link = link
        self.line = link.line(lambda said: hear(self, said))
        log = LogFile(places.process_log(mesh, "proxy"))
        keep = _CAPS_TO_CHANGE_USER if os.getuid() == 0 else frozenset[int]()
        self.daemon = Daemon("proxy", loop, log, say, lambda: command(self), keep)

    @property
    def status(self) -> ProxyStatus:
        """For the agent."""
        return ProxyStatus(self.daemon.pid, self.state, self.version, self.since, self.admin, self.until)

    def become(self, state: ProxyState) -> None:
        """Another state from now on."""
        self.state, self.since = state, time.time()

    def vacate(self) -> None:
        """It is over: nobody is told or asked here any more."""
        self._link.drop(self.line)
        self.listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


class ProxyKeeper:
    """Keeps one proxy serving, and has another take its place when asked to."""

    def __init__(
        self,
        mesh: str,
        loop: Loop,
        link: ProxyLink,
        broker: Broker,
        command: Callable[[Incarnation], tuple[Sequence[str], Sequence[int]]],
        say: Callable[[str], None],
        changed: Callable[[], None],
        renew_agent: Callable[[], None],
        look: Callable[[], None],
    ) -> None:
        """`command`: the program with its flags, and the descriptors among them, for one incarnation.

        `look`: attached workloads are to be looked up again, and what is found told.
        """
        self._mesh = mesh
        self._loop = loop
        self._link = link
        self._broker = broker
        self._command = command
        self._say = say
        self._changed = changed
        self._renew_agent = renew_agent
        self._look = look
        self._current = self._seat(0)
        self._next: Incarnation | None = None
        """Started, and not serving yet."""
        self._old: Incarnation | None = None
        """Draining."""
        self._order = Upgrade("", 0.0, 0.0)
        self._waiting: Upgrade | None = None
        """To be followed once what drains has been cut."""
        self._ordered = 0.0
        self._stage = Stage.NONE
        self._why = ""
        self._seconds = 0.0
        self._timer: Timer | None = None
        self._is_stopping = False
        self._point()

    @property
    def status(self) -> Proxies:
        """All there are."""
        there = [one for one in (self._current, self._next, self._old) if one]
        return Proxies(
            [one.status for one in there], tulle.__version__, self._order.upgrade, self._stage, self._why, self._seconds
        )

    def start(self) -> None:
        """Starts the first."""
        self._current.daemon.start()

    def upgrade(self, order: Upgrade) -> None:
        """Starts another beside the one that serves; refused while an earlier order is not done."""
        if self._is_stopping or order.upgrade == self._order.upgrade:
            return
        if self._old and order.hurry:
            self._waiting = order
            self._old.until = time.time()
            self._old.line.tell("retire", "0")
            return
        if self._next or self._old:
            self._say("an upgrade is asked for while another is not done: refused")
            return
        self._order, self._ordered = order, self._loop.now()
        self._stage, self._why, self._seconds = Stage.STARTING, "", 0.0
        self._say(f"a new proxy is started to take the place of pid {self._current.daemon.pid}")
        try:
            self._next = self._seat((self._current.seat + 1) % SEATS)
            self._next.daemon.start_once(self._next_ended)
            self._timer = self._loop.later(order.ready_seconds, self._next_is_late)
        except OSError as fault:
            self._fail(f"the new proxy cannot be started ({fault})")
        self._changed()

    def stop(self, seconds: float, when_stopped: Callable[[], None]) -> None:
        """SIGTERM to all there are, after so many seconds SIGKILL; calls back when they have ended."""
        self._is_stopping = True
        self._waiting = None
        if self._timer:
            self._timer.cancel()
        left = [one for one in (self._current, self._next, self._old) if one]

        def ended(one: Incarnation) -> None:
            one.vacate()
            left.remove(one)
            if not left:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(places.admin_socket(self._mesh))
                when_stopped()

        for one in list(left):
            one.daemon.stop(seconds, functools.partial(ended, one))

    def _seat(self, seat: int) -> Incarnation:
        return Incarnation(self._mesh, seat, self._loop, self._link, self._say, self._prepare, self._hear)

    def _prepare(self, one: Incarnation) -> tuple[Sequence[str], Sequence[int]]:
        """The command of a process that is about to be started in a place."""
        control = one.line.connect()
        self._loop.later(0, control.close)
        one.version = ""
        one.become(ProxyState.STARTING)
        argv, descriptors = self._command(one)
        own = {
            "control-fd": control.fileno(),
            "broker-fd": self._broker.for_proxies[one.seat].fileno(),
            "admin-fd": one.listener.fileno(),
        }
        argv = [*argv, *(word for name, fd in own.items() for word in (f"--{name}", str(fd)))]
        if one is self._next or self._old:
            argv.append("--successor")
        self._changed()
        return argv, (*descriptors, *own.values())

    def _hear(self, one: Incarnation, said: Handover) -> None:
        """What a proxy says: `serving`, with its version, `waits` when it has no snapshot that it can read, or `look`."""
        if said.kind == "serving":
            one.version = said.name
            one.become(ProxyState.SERVING)
            if one is self._next:
                self._take_over(one)
            elif one is self._current:
                self._introduce(one)
            self._changed()
        elif said.kind == "waits" and one is self._next:
            self._say(f"the new proxy waits for {said.name}: the agent is started again, to tell it")
            self._renew_agent()
        elif said.kind == "look":
            self._look()

    def _take_over(self, new: Incarnation) -> None:
        old = self._current
        self._current, self._next, self._old = new, None, old
        if self._timer:
            self._timer.cancel()
        new.daemon.keep()
        self._point()
        seconds = self._order.drain_seconds
        old.become(ProxyState.DRAINING)
        old.until = time.time() + seconds
        self._stage, self._seconds = Stage.DRAINING, self._loop.now() - self._ordered
        self._say(
            f"the new proxy, pid {new.daemon.pid}, serves after {self._seconds:.2f} s; pid {old.daemon.pid} drains for at most "
            f"{seconds:g} s"
        )
        self._introduce(new)
        old.daemon.let_end(seconds + _GRACE_SECONDS, self._old_ended)
        self._renew_agent()

    def _introduce(self, new: Incarnation) -> None:
        """Joins what drains with who goes on with its counts; without one the new one need not wait for it."""
        theirs: socket.socket | None = None
        ours: socket.socket | None = None
        if self._old and self._old.daemon.pid:
            try:
                theirs, ours = socket.socketpair()
            except OSError as fault:  # what was decided is done, with or without
                self._say(f"what the proxy that drains has counted is lost ({fault})")
            left = max(self._old.until - time.time(), 0.0)
            self._old.line.tell("retire", f"{left:.3f}", theirs, gives=True)
        new.line.tell("inherit", "", ours, gives=True)

    def _old_ended(self) -> None:
        old, self._old = self._old, None
        if old:
            self._say(f"the proxy that drained has ended ({old.daemon.last_end})")
            old.vacate()
        self._stage = Stage.DONE
        self._changed()
        order, self._waiting = self._waiting, None
        if order:
            self.upgrade(order)

    def _next_ended(self) -> None:
        if self._next:
            self._fail(self._why or f"the new proxy ended ({self._next.daemon.last_end}) before it served")

    def _next_is_late(self) -> None:
        if self._next:
            self._why = f"the new proxy did not serve within {self._order.ready_seconds:g} s"
            self._next.daemon.stop(0.0, self._next_ended)

    def _fail(self, why: str) -> None:
        new, self._next = self._next, None
        if self._timer:
            self._timer.cancel()
        if new:
            new.vacate()
        self._stage, self._why = Stage.FAILED, why
        self._say(f"upgrade: {why}; pid {self._current.daemon.pid} goes on")
        self._changed()

    def _point(self) -> None:
        """`admin.sock` leads to the one that serves, from one moment to the next."""
        path = places.admin_socket(self._mesh)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}.new")
        os.symlink(self._current.admin, f"{path}.new")
        os.rename(f"{path}.new", path)
