"""One pod over its life: waits, starts, is asked whether it is ready, ends, starts again, stops."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable

from tulle.supervisor import launch, words
from tulle.supervisor.course import Again, Course
from tulle.supervisor.fork import describe_exit
from tulle.supervisor.journal import Output
from tulle.supervisor.loop import Timer
from tulle.supervisor.steps import StepFailed
from tulle.supervisor.surroundings import Surroundings
from tulle.wire.plan import ADDRESSES, PodSpec, PodState, PodStatus


class Pod:
    """Runs one PodSpec until told otherwise: does what its Course decides."""

    def __init__(self, spec: PodSpec, around: Surroundings, changed: Callable[[], None]) -> None:
        """`changed` is called when its state, or the reason of it, is another."""
        self.spec = spec
        self._around = around
        self._changed = changed
        self._course = Course(spec)
        self._told = self._course.state, self._course.why
        self._since = time.time()
        self._pid = 0
        self._middle = 0
        self._network = -1
        self._way = ""
        self._link: socket.socket | None = None
        self._output: Output | None = None
        self._log = around.outfits.log(spec.name)
        self._notes: list[str] = []
        """What a person should know of it, though it runs."""
        self._began = 0.0
        self._timer: Timer | None = None
        self._when_stopped: Callable[[], None] | None = None

    @property
    def state(self) -> PodState:
        """Where it is in its life."""
        return self._course.state

    @property
    def is_ready(self) -> bool:
        """What pods that depend on it wait for."""
        return self.state is PodState.READY

    @property
    def status(self) -> PodStatus:
        """As the agent is told."""
        course = self._course
        pid = self._pid if course.is_running else 0
        said = course.why, *self._notes, self._around.addresses.trouble(self.spec.name)
        why = "; ".join(one for one in said if one)
        return PodStatus(self.spec.name, course.state, pid, course.restarts, self._since, why, self._way)

    def wait_for(self, missing: list[str]) -> None:
        """Says what is still missing before it may start."""
        self._course.waits_for(missing)
        self._tell()

    def start(self) -> None:
        """Starts it now."""
        self._course.begins()
        self._notes.clear()
        if self.spec.isolated and (problem := self._around.problem):
            self._again(self._course.refused(problem.step, problem.why))
            return
        try:
            output = self._output = Output(self._around.loop, self._log)
        except OSError as fault:
            self._again(self._course.refused("init", str(fault)))
            return
        try:
            outfits = self._around.outfits
            service = outfits.service(self.spec, output.stdout, output.stderr)
            container = outfits.container(self.spec) if self.spec.container else None
            self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._link.setblocking(False)
            with theirs:
                if self.spec.isolated:
                    dialling = launch.Dialling(self._around.way, list(self._around.addresses.wanted))
                    self._middle = self._around.stem.launch(launch.Order(service, dialling, container), theirs)
                    self._around.loop.child(self._middle, self._middle_ended)
                else:
                    self._pid = self._around.stem.launch(launch.Order(service, None), theirs)
                    self._around.loop.child(self._pid, self._ended)
        except StepFailed as fault:
            self._again(self._course.refused(fault.step, fault.why))
            return
        except OSError as fault:
            self._close_link()
            self._again(self._course.refused("init", str(fault)))
            return
        finally:
            output.handed_over()
        self._began = self._around.loop.now()
        self._around.loop.read(self._link.fileno(), self._hear)
        self._course.launched()
        self._tell()

    def stop(self, when_stopped: Callable[[], None]) -> None:
        """SIGTERM, after the deadline SIGKILL; calls back once nothing of it runs."""
        self._when_stopped = when_stopped
        if self.state is PodState.STOPPING:
            return  # the deadline stands
        if self._timer:
            self._timer.cancel()
        if not self._pid and not self._middle:
            self._course.stopped()
            self._stopped()
            return
        asking = self._course.stops()
        self._tell()
        self._kill(asking)
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
        if word == words.NOTE and len(said) == 1:
            self._notes.append(said[0])
            self._changed()
        elif word == words.TAKEN and len(said) == 2 and self._middle:
            self._around.addresses.taken(self.spec.name, *said)
        else:
            self._course.heard(word, said)
            self._tell()

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
        elif self.state is PodState.STOPPING:
            self._kill(signal.SIGKILL)
        elif self._link:
            self._around.addresses.complete(self.spec.name)
            words.send(self._link, words.GO)
            self._changed()

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
        if self.spec.container:
            self._around.outfits.clear(self.spec)
        ran = self._around.loop.now() - self._began
        again = self._course.ended(describe_exit(status), ran, collides=self._collides)
        if again:
            self._again(again)
        else:
            self._stopped()

    @property
    def _collides(self) -> bool:
        """True when the mesh listens at its port, in its network."""
        readiness = self.spec.readiness
        return self._way == ADDRESSES and readiness is not None and self._around.addresses.has_port(readiness.port)

    def _again(self, again: Again) -> None:
        if again.say:
            self._around.say(f"{self.spec.name} {again.say}")
        self._tell()
        self._timer = self._around.loop.later(again.seconds, self.start)

    def _stopped(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
        self._log.close()
        self._tell()
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

    def _tell(self) -> None:
        """Tells proxy and agent what is new of its course."""
        news = self._course.state, self._course.why
        if news == self._told:
            return
        self._told, self._since = news, time.time()
        if self.is_ready:
            self._around.proxy.ready(self.spec.name)
        else:
            self._around.proxy.unready(self.spec.name)
        self._changed()
