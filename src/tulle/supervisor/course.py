"""A pod's life as decisions: which state follows from what is heard of it, and what is to be done about it.

    waiting → starting → ready ⇄ unready      an end of any of these → backoff → starting
    a start that the box refuses → impossible → starting            all → stopping → stopped

Reads no clock and starts nothing: whoever runs the pod says what happened, and does what comes of it. Invariant: what is
to stop is never started again, whatever is heard of it.
"""

import signal
from collections.abc import Sequence
from typing import NamedTuple

from tulle.kit.backoff import Backoff
from tulle.supervisor import words
from tulle.supervisor.addresses import REMEDY
from tulle.supervisor.steps import explain
from tulle.wire.plan import PodSpec, PodState, Readiness

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 30.0
_FIRST_MISSING_SECONDS, _IMPOSSIBLE_RETRY_SECONDS = 1.0, 30.0
_BROUGHT = frozenset(("image", "pull"))
"""Steps that fail until somebody brings what is missing, which takes seconds: tried again sooner at first."""
_RUNNING = (PodState.STARTING, PodState.READY, PodState.UNREADY, PodState.STOPPING)


class Again(NamedTuple):
    """It is to be started again."""

    seconds: float
    """From now."""
    say: str
    """Why, for the log; empty when that was said before."""


class Course:
    """Where one pod is, and why."""

    def __init__(self, spec: PodSpec) -> None:
        self.state = PodState.WAITING
        self.why = ""
        self.restarts = 0
        self._port = spec.readiness.port if spec.readiness else 0
        self._asked = _asked(spec.readiness)
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._missing = Backoff(_FIRST_MISSING_SECONDS, _IMPOSSIBLE_RETRY_SECONDS)
        self._is_started = False
        self._last_exit = ""
        self._exit_said = ""
        self._refusal: tuple[str, str] | None = None
        self._problem_said = ""

    @property
    def is_running(self) -> bool:
        """True when there is a process to speak of."""
        return self.state in _RUNNING

    def waits_for(self, missing: Sequence[str]) -> None:
        """It may not start before these pods are ready."""
        self._enter(PodState.WAITING, f"waits for {', '.join(missing)}")

    def begins(self) -> None:
        """It is about to be started; what was heard of its predecessor is over."""
        self.restarts += self.state is PodState.BACKOFF
        self._is_started, self._exit_said, self._refusal = False, "", None

    def launched(self) -> None:
        """There is a process."""
        self._enter(PodState.STARTING, self._last_exit)

    def refused(self, step: str, why: str) -> Again:
        """The box refused a step of making it."""
        problem = str(explain(step, why))
        news = "" if problem == self._problem_said else f"cannot be started: {problem}"
        self._problem_said = problem
        self._enter(PodState.IMPOSSIBLE, problem)
        pause = self._missing.after(0.0) if step in _BROUGHT else _IMPOSSIBLE_RETRY_SECONDS
        return Again(pause, news)

    def heard(self, word: str, said: Sequence[str]) -> None:
        """Its pid 1, or who makes it, says something. What makes no sense now changes nothing."""
        match word, self.state, *said:
            case words.IMPOSSIBLE, _, step, why:
                self._refusal = step, why
            case ((words.CANNOT | words.EXIT), _, how, *_):
                self._exit_said = how
            case words.PULLING, PodState.STARTING, image, *_:
                self._enter(PodState.STARTING, f"pulling {image}")
            case words.STARTED, _, *_:
                self._is_started = True
                if self.state is PodState.STARTING:
                    self._enter(PodState.STARTING, "; ".join(filter(None, (self._last_exit, self._asked))))
            case words.READY, (PodState.STARTING | PodState.UNREADY), *_:
                self._enter(PodState.READY, self._last_exit)
            case words.UNREADY, PodState.READY, why, *_:
                self._enter(PodState.UNREADY, why)
            case words.SLOW, PodState.STARTING, why, *_:
                self._enter(PodState.STARTING, f"not ready in time; still asked: {why}")

    def ended(self, how: str, ran_seconds: float, *, collides: bool) -> Again | None:
        """Its process is gone: `how` unless it said so itself. None: it was to stop, and has.

        `collides`: the mesh has a listener at its port, in its own network.
        """
        self._last_exit = self._with_collision(self._exit_said or how, collides=collides)
        if self.state is PodState.STOPPING:
            self.stopped()
            return None
        if self._refusal:
            return self.refused(*self._refusal)
        pause = self._backoff.after(ran_seconds)
        self._problem_said = ""
        self._enter(PodState.BACKOFF, self._last_exit)
        return Again(pause, f"ended ({self._last_exit}); starting it again in {pause:g} s")

    def stops(self) -> signal.Signals:
        """It is to stop for good; returns the signal that asks it to. One that runs no code yet need not be asked."""
        self._enter(PodState.STOPPING, "")
        return signal.SIGTERM if self._is_started else signal.SIGKILL

    def stopped(self) -> None:
        """Nothing of it runs, and nothing will."""
        self._enter(PodState.STOPPED, self._last_exit)

    def _with_collision(self, how: str, *, collides: bool) -> str:
        """With what to do, where it perhaps could not listen because the mesh does."""
        if not collides or self.state is not PodState.STARTING or how == "exit 0":
            return how
        return f"{how}; it cannot listen at port {self._port} of every address here. {REMEDY}"

    def _enter(self, state: PodState, why: str) -> None:
        self.state, self.why = state, why


def _asked(readiness: Readiness | None) -> str:
    """What it waits for to be ready."""
    if readiness is None:
        return ""
    return f"waits for {f'GET {readiness.path} at ' if readiness.path else ''}port {readiness.port}"
