"""Process 1 of a pod: starts the service, adopts orphans, forwards signals, asks whether it is ready, says how it ended.

It has given up every privilege before the service exists, and its memory is closed to it. What it says to the
supervisor are words of `tulle.supervisor.words`; the supervisor believes them about this pod alone.

Of a service that is not isolated it is an ordinary process that ends all its descendants when it ends.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from tulle.kit import limits, privileges, seccomp
from tulle.supervisor import tree, words
from tulle.supervisor.fork import close_all_but, describe_exit, execute
from tulle.supervisor.reach import why_not_run, why_not_write
from tulle.supervisor.readiness import Asking, fault_of
from tulle.supervisor.steps import StepFailed, step
from tulle.supervisor.user import Identity
from tulle.wire.plan import Readiness

_WORDS_BYTES = 900


class Service(NamedTuple):
    """What pid 1 starts."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    who: Identity
    view: tree.View | None
    """None: not isolated."""
    hostname: str
    readiness: Readiness | None
    stdout: int
    stderr: int
    descriptors: int
    """Its limit of them, unless it raises that itself."""
    writable: Sequence[str] = ()
    """Paths that must be its own to write."""


def run(service: Service, link: socket.socket) -> None:
    """Lives as long as the service. `link` leads to the supervisor; its end is the end."""
    try:
        _prepare(service, link)
    except StepFailed as fault:
        words.send(link, words.IMPOSSIBLE, fault.step, fault.why)
        return
    Init(service, link).run()


def _prepare(service: Service, link: socket.socket) -> None:
    if service.view is not None:
        if words.receive_plain(link) != words.GO:
            raise SystemExit(0)
        privileges.die_with(0)  # a parent outside of the pid namespace has number 0
        _build(service.view, link)
        with step("namespaces"):
            socket.sethostname(service.hostname)
        with step("limits"):
            limits.bound_service()
    else:
        privileges.adopt_orphans()
    with step("limits"):
        limits.allow_descriptors(service.descriptors)
    with step("capabilities"):
        who = service.who
        if who.changes:
            privileges.drop(who.uid, who.gid, who.groups)
        else:
            privileges.drop()
    for path in service.writable:
        with step("writable"):
            why = why_not_write(path)
        if why:
            raise StepFailed("owner", why)
    if service.view is not None:
        with step("filter"):
            seccomp.confine()
    privileges.hide_memory()


def _build(view: tree.View, link: socket.socket) -> None:
    """In a child: what it writes to memory would stay with this process, and this one with the service."""
    with step("init"):
        builder = os.fork()
    if not builder:
        code = 1
        try:
            tree.build(view)
            code = 0
        except StepFailed as fault:
            words.send(link, words.IMPOSSIBLE, fault.step, fault.why)
        finally:
            if (defect := sys.exception()) and code:
                sys.excepthook(type(defect), defect, defect.__traceback__)
            os._exit(code)
    if os.waitpid(builder, 0)[1]:
        raise SystemExit(1)
    os.chdir("/")


class Init:
    """Watches one service: reaps, forwards signals, asks whether it is ready, says how it ended."""

    def __init__(self, service: Service, link: socket.socket) -> None:
        self._service = service
        self._link = link
        self._pid = 0
        self._ended = ""
        """How, once it has."""
        self._poll = select.poll()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)

    def run(self) -> None:
        """Starts the service and stays as long as it runs. Raises StepFailed."""
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._forward)
        signal.signal(signal.SIGINT, self._forward)
        if failure := self._start():
            words.send(self._link, words.CANNOT, failure)
            return
        words.send(self._link, words.STARTED)
        os.close(self._service.stdout)
        os.close(self._service.stderr)
        try:
            self._watch()
        finally:
            self._finish()

    def _finish(self) -> None:
        if self._service.view is None:
            end_descendants()

    def _start(self) -> str:
        news, report = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            self._become_service(report)
        os.close(report)
        with os.fdopen(news, "rb") as pipe:
            failure = pipe.read(_WORDS_BYTES)
        if failure:
            os.waitpid(self._pid, 0)
        return failure.decode("utf-8", "replace")

    def _become_service(self, report: int) -> None:
        service = self._service
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            nothing = os.open("/dev/null", os.O_RDONLY)
            close_all_but((report, nothing, service.stdout, service.stderr))
            os.chdir(service.cwd)
            os.umask(0o022)
            execute(service.argv, service.env, stdin=nothing, stdout=service.stdout, stderr=service.stderr)
        except OSError as fault:
            os.write(report, why_not_run(fault, service.argv, service.cwd, service.env.get("PATH", "")).encode())
        finally:
            os._exit(127)

    def _watch(self) -> None:
        self._poll.register(self._link, select.POLLIN)
        self._poll.register(self._wake_in, select.POLLIN)
        readiness = self._service.readiness
        asking = Asking(readiness, time.monotonic()) if readiness else None
        if asking is None:
            self._say(words.READY)
        while True:
            self._reap()
            if self._ended:
                self._say(words.EXIT, self._ended)
                return
            wait = asking.wait(time.monotonic()) if asking else None
            if readiness and asking and wait == 0.0:
                if news := asking.answered(fault_of(readiness), time.monotonic()):
                    self._say(*news)
                continue
            for descriptor, _ in self._poll.poll(None if wait is None else int(wait * 1000) + 1):
                if descriptor == self._link.fileno():
                    return  # the supervisor has gone
                if descriptor == self._wake_in.fileno():
                    with contextlib.suppress(BlockingIOError):
                        self._wake_in.recv(4096)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self._pid:
                    self._ended = describe_exit(status)

    def _forward(self, number: int, _frame: object) -> None:
        if self._pid and not self._ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def _say(self, *parts: str) -> None:
        words.send(self._link, *parts)


def end_descendants() -> None:
    """Kills every descendant of this process, however often they fork."""
    while children := _children(os.getpid()):
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(one) for one in file.read().split()]
