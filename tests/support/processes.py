"""The real processes of a running mesh: which is which, how to end one, how to wait for a fact about them."""

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from tools.footprint import Footprint, Weight, children, descendants, footprint, is_running

T = TypeVar("T")


class Death(NamedTuple):
    """When a process was killed and when it was gone, in `time.monotonic()`."""

    killed: float
    gone: float


@dataclass(frozen=True, slots=True)
class Processes:
    """Tulle's own processes below one supervisor."""

    supervisor: int

    def pid(self, role: str) -> int:
        """The one `supervisor`, `agent`, `proxy` or `broker`. Raises LookupError while there is none, or more than one."""
        found = [w.pid for w in self.weights() if w.role == role]
        if len(found) != 1:
            raise LookupError(f"{len(found)} processes are {role}")
        return found[0]

    def weights(self) -> tuple[Weight, ...]:
        return self.footprint().processes

    def footprint(self) -> Footprint:
        """What all of Tulle weighs now."""
        return footprint(self.supervisor)

    def kill(self, role: str) -> Death:
        """SIGKILL to that process; returns once it is gone."""
        return kill(self.pid(role))

    def restarted(self, role: str, before: int, within: float = 10.0) -> int:
        """The pid of the process that took its place."""

        def other() -> int | None:
            try:
                pid = self.pid(role)
            except LookupError:
                return None
            return pid if pid != before else None

        return eventually(other, within, f"a new {role}")

    def all(self) -> list[int]:
        """The supervisor and everything below it, the services too."""
        return [self.supervisor, *descendants(self.supervisor)]


def kill(pid: int) -> Death:
    """SIGKILL; returns once the kernel has taken the process apart."""
    watch = os.pidfd_open(pid)
    try:
        killed = time.monotonic()
        signal.pidfd_send_signal(watch, signal.SIGKILL)
        if not select.select([watch], [], [], 10.0)[0]:
            raise TimeoutError(f"process {pid} does not die")
        return Death(killed, time.monotonic())
    finally:
        os.close(watch)


def eventually(fact: Callable[[], T | None], within: float, what: str, every: float = 0.02) -> T:
    """The first truthy answer. Raises TimeoutError that says what was waited for."""
    deadline = time.monotonic() + within
    while True:
        answer = fact()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within:g} s: {what}")
        time.sleep(every)


__all__ = ["Death", "Processes", "children", "eventually", "is_running", "kill"]
