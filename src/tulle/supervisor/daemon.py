"""Keeps one of Tulle's own programs, the agent or the proxy, running."""

import contextlib
import os
import signal
from collections.abc import Callable, Sequence

from tulle.kit import privileges
from tulle.kit.backoff import Backoff
from tulle.supervisor.flow import OWN_FLOW
from tulle.supervisor.fork import describe_exit, execute, fork, raise_descriptor_limit
from tulle.supervisor.journal import LogFile, Output
from tulle.supervisor.loop import Loop, Timer

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_FREE_RESTARTS = 10
"""So many ends cost no pause, since all traffic waits for the proxy and a start is a fifth of a second of CPU; one more
without ten minutes of running in between is a crash loop, which must not eat the box."""


class Daemon:
    """Starts a program at once, and again when it ends: at once the first times, then ever more slowly."""

    def __init__(
        self,
        name: str,
        loop: Loop,
        log: LogFile,
        say: Callable[[str], None],
        prepare: Callable[[], tuple[Sequence[str], Sequence[int]]],
        keep_capabilities: frozenset[int] | None = frozenset(),
    ) -> None:
        """`prepare` says, for each start, the command and the descriptors to pass. None: capabilities as they are."""
        self.name = name
        self.pid = 0
        self.restarts = 0
        self._loop = loop
        self._log = log
        self._say = say
        self._prepare = prepare
        self._keep = keep_capabilities
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, free=_FREE_RESTARTS)
        self._began = 0.0
        self._timer: Timer | None = None
        self._when_stopped: Callable[[], None] | None = None
        self._is_replaced = False
        self.last_end = ""
        """How it last ended: `exit 1`, `signal SIGKILL`."""

    def start_once(self, when_ended: Callable[[], None]) -> None:
        """Starts the program; when it ends that is told, and it is not started again, until `keep`. Raises OSError."""
        self._when_stopped = when_ended
        self._began = self._loop.now()
        self._start()

    def keep(self) -> None:
        """From now on it is started again when it ends."""
        self._when_stopped = None

    def start(self) -> None:
        """Starts the program; where the box has no process or descriptor left for it, later."""
        self._began = self._loop.now()
        try:
            self._start()
        except OSError as fault:  # what serves must not end for it
            self._again(f"cannot be started ({fault})")

    def _start(self) -> None:
        argv, descriptors = self._prepare()
        output = Output(self._loop, self._log, OWN_FLOW)
        parent = os.getpid()

        def run() -> None:
            privileges.die_with(parent)
            if self._keep is not None:
                privileges.bound_capabilities(self._keep)
            privileges.refuse_new_privileges()
            raise_descriptor_limit()
            for descriptor in descriptors:
                os.set_inheritable(descriptor, True)
            nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            execute(argv, os.environ, stdin=nothing, stdout=output.stdout, stderr=output.stderr)

        try:
            self.pid = fork(run, (*descriptors, output.stdout, output.stderr))
        finally:
            output.handed_over()
        self._loop.child(self.pid, lambda status: self._ended(status, output))

    def stop(self, deadline_seconds: float, when_stopped: Callable[[], None]) -> None:
        """SIGTERM, after the deadline SIGKILL; calls back when the program has ended."""
        self._kill(signal.SIGTERM)
        self.let_end(deadline_seconds, when_stopped)

    def let_end(self, deadline_seconds: float, when_ended: Callable[[], None]) -> None:
        """It is about to end: it is not started again, and calls back when it has. After the deadline SIGKILL."""
        self._when_stopped = when_ended
        if self._timer:
            self._timer.cancel()
        if not self.pid:
            when_ended()
            return
        self._timer = self._loop.later(deadline_seconds, lambda: self._kill(signal.SIGKILL))

    def replace(self, deadline_seconds: float) -> None:
        """SIGTERM, after the deadline SIGKILL; started again at once, from the code that is on disk then."""
        if self.pid and not self._when_stopped:
            self._is_replaced = True
            self._kill(signal.SIGTERM)
            self._timer = self._loop.later(deadline_seconds, lambda: self._kill(signal.SIGKILL))

    def _ended(self, status: int, output: Output) -> None:
        self.pid = 0
        output.finish()
        self.last_end = describe_exit(status)
        if self._timer:
            self._timer.cancel()
        if self._when_stopped:
            self._when_stopped()
            return
        if self._is_replaced:
            self._is_replaced = False
            self.start()
            return
        self.restarts += 1
        self._again(f"ended ({self.last_end})")

    def _again(self, why: str) -> None:
        pause = self._backoff.after(self._loop.now() - self._began)
        self._say(f"the {self.name} {why}; starting it again in {pause:g} s")
        self._timer = self._loop.later(pause, self.start)

    def _kill(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
