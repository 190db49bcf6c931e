"""One pod over its life: waits, starts, is asked whether it is ready, ends, starts again, stops."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Protocol

from tulle.kit.backoff import Backoff
from tulle.supervisor import launch, words
from tulle.supervisor.addresses import REMEDY, Addresses
from tulle.supervisor.broker import Broker
from tulle.supervisor.fork import describe_exit
from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.init import Service
from tulle.supervisor.journal import LogFile, Output
from tulle.supervisor.loop import Loop, Timer
from tulle.supervisor.steps import Problem, StepFailed, explain
from tulle.wire.plan import ADDRESSES, PodSpec, PodStatus

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 30.0
_IMPOSSIBLE_RETRY_SECONDS = 30.0
_RUNNING = ("starting", "ready", "unready", "stopping")


class Surroundings(Protocol):
    """What a pod needs of the supervisor."""

    loop: Loop
    broker: Broker
    proxy: ProxyLink
    addresses: Addresses
    way: str
    """How pods reach the mesh: one of `tulle.wire.plan.WAYS`."""

    def service(self, spec: PodSpec, stdout: int, stderr: int) -> Service:
        """All that pid 1 must know. Raises StepFailed."""

    def log(self, pod: str) -> LogFile:
        """Where its output goes."""

    def why_no_pods(self) -> Problem | None:
        """What keeps this box from making pods, when that is known."""

    def changed(self, pod: str) -> None:
        """Its state is another."""

    def say(self, text: str) -> None:
        """One line in the supervisor's log."""


class Pod:
    """Runs one PodSpec until told otherwise."""

    def __init__(self, spec: PodSpec, around: Surroundings) -> None:
        self.spec = spec
        self.state = "waiting"
        self.why = ""
        self.restarts = 0
        self._around = around
        self._since = time.time()
        self._pid = 0
        self._middle = 0
        self._network = -1
        self._way = ""
        self._link: socket.socket | None = None
        self._output: Output | None = None
        self._output_log = around.log(spec.name)
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._began = 0.0
        self._timer: Timer | None = None
        self._is_started = False
        self._last_exit = ""
        self._exit_said = ""
        self._refusal: tuple[str, str] | None = None
        self._problem_said = ""
        self._when_stopped: Callable[[], None] | None = None

    @property
    def is_ready(self) -> bool:
        """What pods that depend on it wait for."""
        return self.state == "ready"

    @property
    def status(self) -> PodStatus:
        """As the agent is told."""
        pid = self._pid if self.state in _RUNNING else 0
        why = "; ".join(one for one in (self.why, self._around.addresses.trouble(self.spec.name)) if one)
        return PodStatus(self.spec.name, self.state, pid, self.restarts, self._since, why, self._way)

    def wait_for(self, missing: list[str]) -> None:
        """Says what is still missing before it may start."""
        self._enter("waiting", f"waits for {', '.join(missing)}")

    def start(self) -> None:
        """Starts it now."""
        self._is_started, self._exit_said, self._refusal = False, "", None
        if self.spec.isolated and (problem := self._around.why_no_pods()):
            self._impossible(problem.step, problem.why)
            return
        try:
            output = self._output = Output(self._around.loop, self._output_log)
        except OSError as fault:
            self._impossible("init", str(fault))
            return
        try:
            service = self._around.service(self.spec, output.stdout, output.stderr)
            self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._link.setblocking(False)
            with theirs:
                if self.spec.isolated:
                    dialling = launch.Dialling(self._around.way, self._around.addresses.wanted)
                    self._middle = launch.launch_pod(service, theirs, dialling)
                    self._around.loop.child(self._middle, self._middle_ended)
                else:
                    self._pid = launch.launch_plain(service, theirs)
                    self._around.loop.child(self._pid, self._ended)
        except StepFailed as fault:
            self._impossible(fault.step, fault.why)
            return
        except OSError as fault:
            self._close_link()
            self._impossible("init", str(fault))
            return
        finally:
            output.handed_over()
        self._began = self._around.loop.now()
        self._around.loop.read(self._link.fileno(), self._hear)
        self._enter("starting", self._last_exit)

    def stop(self, when_stopped: Callable[[], None]) -> None:
        """SIGTERM, after the deadline SIGKILL; calls back once nothing of it runs."""
        self._when_stopped = when_stopped
        if self._timer:
            self._timer.cancel()
        if not self._pid and not self._middle:
            self._finish_stop()
            return
        if self.state == "stopping":
            return
        self._enter("stopping", "")
        self._around.proxy.unready(self.spec.name)
        self._kill(signal.SIGTERM if self._is_started else signal.SIGKILL)
        self._timer = self._around.loop.later(self.spec.stop_seconds, lambda: self._kill(signal.SIGKILL))

    def _hear(self) -> None:
        while self._link:
            try:
                heard = words.receive(self._link)
            except BlockingIOError:
                return
            except (OSError, ValueError):
                heard = None
            if heard is None:
                self._close_link()
                return
            self._take(*heard)

    def _take(self, parts: list[str], descriptors: list[int]) -> None:
        word, said = parts[0], parts[1:]
        if word == words.MADE and len(descriptors) == 2 and self._middle:
            self._made(int(said[0]), said[1], *descriptors)
            return
        if word == words.ADDRESS and len(descriptors) == 1 and self._middle:
            self._around.addresses.opened(self.spec.name, said[0], socket.socket(fileno=descriptors[0]))
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if word == words.IMPOSSIBLE and len(said) == 2:
            self._refusal = said[0], said[1]
        elif word in (words.CANNOT, words.EXIT) and said:
            self._exit_said = said[0]
        elif word == words.TAKEN and len(said) == 2 and self._middle:
            self._around.addresses.taken(self.spec.name, *said)
        elif word == words.STARTED:
            self._is_started = True
        elif word == words.READY and self.state in ("starting", "unready"):
            self._enter("ready", self._last_exit)
            self._around.proxy.ready(self.spec.name)
        elif word == words.UNREADY and said and self.state == "ready":
            self._enter("unready", said[0])
            self._around.proxy.unready(self.spec.name)
        elif word == words.SLOW and said and self.state == "starting":
            self._enter("starting", f"not ready in time; still asked: {said[0]}")

    def _made(self, pid: int, way: str, network: int, listener: int) -> None:
        self._pid, self._way, self._network = pid, way, network
        self._around.loop.child(pid, self._ended)
        self._around.broker.add(self.spec.name, network)
        self._around.proxy.pod(self.spec.name, socket.socket(fileno=listener))
        if way == ADDRESSES:
            self._around.addresses.add(self.spec.name, network)

    def _middle_ended(self, status: int) -> None:
        self._hear()
        self._middle = 0
        if not self._pid:
            self._ended(status)
        elif self.state == "stopping":
            self._kill(signal.SIGKILL)
        elif self._link:
            self._around.addresses.complete(self.spec.name)
            words.send(self._link, words.GO)
            self._around.changed(self.spec.name)

    def _ended(self, status: int) -> None:
        self._hear()
        self._close_link()
        if self._output:
            self._output.finish()
        self._pid = 0
        if self._network >= 0:
            self._around.broker.remove(self.spec.name)
            self._around.addresses.remove(self.spec.name)
            os.close(self._network)
            self._network = -1
        self._around.proxy.unready(self.spec.name)
        self._last_exit = self._with_collision(self._exit_said or describe_exit(status))
        if self._when_stopped:
            self._finish_stop()
            return
        if self._refusal:
            self._impossible(*self._refusal)
            return
        pause = self._backoff.after(self._around.loop.now() - self._began)
        self._problem_said = ""
        self._around.say(f"{self.spec.name} ended ({self._last_exit}); starting it again in {pause:g} s")
        self._enter("backoff", self._last_exit)
        self._again(pause)

    def _with_collision(self, ended: str) -> str:
        """Why it ended; with what to do, where it perhaps could not listen because the mesh does."""
        readiness = self.spec.readiness
        if self._way != ADDRESSES or self.state != "starting" or ended == "exit 0" or readiness is None:
            return ended
        if not self._around.addresses.has_port(readiness.port):
            return ended
        return f"{ended}; it cannot listen at port {readiness.port} of every address here. {REMEDY}"

    def _again(self, seconds: float) -> None:
        def restart() -> None:
            self.restarts += self.state == "backoff"
            self.start()

        self._timer = self._around.loop.later(seconds, restart)

    def _impossible(self, failed_step: str, why: str) -> None:
        problem = str(explain(failed_step, why))
        if problem != self._problem_said:
            self._around.say(f"{self.spec.name} cannot be started: {problem}")
            self._problem_said = problem
        self._enter("impossible", problem)
        self._again(_IMPOSSIBLE_RETRY_SECONDS)

    def _finish_stop(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
        self._enter("stopped", self._last_exit)
        told, self._when_stopped = self._when_stopped, None
        if told:
            told()

    def _close_link(self) -> None:
        if self._link:
            self._around.loop.forget(self._link.fileno())
            self._link.close()
            self._link = None

    def _kill(self, number: int) -> None:
        for pid in (self._pid, self._middle):
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _enter(self, state: str, why: str) -> None:
        if (state, why) != (self.state, self.why):
            self.state, self.why, self._since = state, why, time.time()
            self._around.changed(self.spec.name)
