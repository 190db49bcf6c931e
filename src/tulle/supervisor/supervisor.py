"""The supervisor: builds its parts, runs them, stops them in order."""

import contextlib
import errno
import fcntl
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import NamedTuple

from tulle.kit import namespaces, netlink, places, privileges
from tulle.supervisor.access_log import AccessLog
from tulle.supervisor.addresses import Addresses
from tulle.supervisor.broker import SEATS, Broker
from tulle.supervisor.control import AgentLink
from tulle.supervisor.daemon import Daemon
from tulle.supervisor.door import Doors
from tulle.supervisor.fleet import Fleet
from tulle.supervisor.fork import raise_descriptor_limit
from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.holder import holder_of
from tulle.supervisor.journal import LogFile, Voice
from tulle.supervisor.loop import Loop, Timer
from tulle.supervisor.loopback import Loopback
from tulle.supervisor.outfit import Outfits
from tulle.supervisor.proxies import Incarnation, ProxyKeeper
from tulle.supervisor.recognition import Recognition
from tulle.supervisor.stem import Stem
from tulle.supervisor.steps import Problem, explain
from tulle.supervisor.surroundings import Surroundings
from tulle.supervisor.unit import UnitLink
from tulle.supervisor.user import PROXY_UID
from tulle.wire.plan import AUTO, METRICS_PORT, Plan, Report, blame

_PROXY_STOP_SECONDS, _AGENT_STOP_SECONDS = 12.0, 5.0
_REPORT_SECONDS = 0.02


class Programs(NamedTuple):
    """Commands of the agent and the proxy, to which their flags are appended."""

    agent: Sequence[str] = (sys.executable, "-m", "tulle.agent")
    proxy: Sequence[str] = (sys.executable, "-m", "tulle.proxy")


class AlreadyRunning(Exception):
    """Another supervisor holds this mesh."""


class Supervisor:
    """Owns one mesh on this box. Construct, then `run`; nothing is left of it afterwards."""

    def __init__(
        self,
        mesh: str,
        manifests: Sequence[str],
        *,
        home: str = "",
        metrics_port: int = METRICS_PORT,
        way: str = AUTO,
        programs: Programs = Programs(),  # noqa: B008  (a constant)
    ) -> None:
        self._mesh = mesh
        self._manifests = manifests
        self._home = home
        self._programs = programs
        self._lock = _claim(mesh)
        descriptors = raise_descriptor_limit()  # a listener in each pod for each address, where nothing redirects
        self.voice = Voice(LogFile(places.process_log(mesh, "supervisor")))
        # Before this user's own namespace: an answer names uids as the namespace knows them that the socket was opened in.
        self._diagnostics = [netlink.open_sock_diag() for _ in range(SEATS)]
        problem = _gain_namespaces()
        if problem:
            self.voice.say(f"no pod can be made here: {problem}")
        privileges.adopt_orphans()
        self._loop = Loop(self.voice.say)
        self._unit = UnitLink(self._loop, os.environ)
        self._metrics_why = ""
        self._metrics = self._metrics_listener(metrics_port)
        self._metrics_at = f"127.0.0.1:{self._metrics.getsockname()[1]}"
        self._memory = os.memfd_create("tulle-snapshot", os.MFD_CLOEXEC)
        self._access_log = AccessLog(self._loop, LogFile(places.process_log(mesh, "access")))
        self._proxy_link = ProxyLink(self._loop)
        self._stem = Stem(self._loop, self.voice.say)
        self._broker = Broker(self._loop, self._stem.fork_broker, self.voice.say, self._proxy_link.broker_forked_again)
        self._has_broker = problem is None
        self._fleet = self._make_fleet(Outfits(mesh, descriptors), way, problem)
        towards_proxy = self._loop, self._proxy_link, self.voice.say, self._report_soon
        self._doors = Doors(*towards_proxy)
        # Made before any pod is: what a pod does not see is decided when it starts.
        self._loopback = Loopback(*towards_proxy, places.forward_socket(mesh))
        self._recognition = Recognition(*towards_proxy)
        self._proxy = ProxyKeeper(
            mesh,
            self._loop,
            self._proxy_link,
            self._broker,
            self._proxy_command,
            self.voice.say,
            self._report_soon,
            lambda: self._agent.replace(_AGENT_STOP_SECONDS),
            self._recognition.answer,
        )
        self._agent_link = AgentLink(self._loop, self._take_plan, self._proxy.upgrade, self.voice.say)
        self._agent = self._make_agent()
        self._generation = 0
        self._report: Timer | None = None
        self._stopping = False

    def run(self) -> int:
        """Serves until SIGTERM or SIGINT; returns the exit code."""
        self._loop.signal(signal.SIGTERM, self._stop)
        self._loop.signal(signal.SIGINT, self._stop)
        gc.collect()
        gc.freeze()
        if self._has_broker:
            self._broker.start()
        self._proxy.start()
        self._agent.start()
        self._unit.begin()
        self.voice.say(f"mesh {self._mesh} is up, pid {os.getpid()}")
        self._loop.run()
        self.voice.say(f"mesh {self._mesh} is down")
        return 0

    def _take_plan(self, plan: Plan) -> None:
        if self._stopping:
            return
        self._generation = plan.generation
        self._doors.want(plan.doors)
        self._access_log.want(plan.access_log_bytes, plan.access_log_files)
        self._recognition.want(plan.attached)
        self._loopback.want(plan.addresses if plan.attached else [])
        self._fleet.apply(plan)
        self._unit.planned()
        self._report_soon()

    def _report_soon(self) -> None:
        """Gathers what changes within a moment into one report."""

        def report() -> None:
            self._report = None
            report = Report(
                self._generation,
                self._fleet.statuses,
                self._doors.statuses,
                self._metrics_at,
                self._metrics_why,
                self._recognition.statuses,
                self._loopback.statuses,
            )
            self._agent_link.tell(report, self._proxy.status)
            self._unit.goes(report)

        if self._report is None:
            self._report = self._loop.later(_REPORT_SECONDS, report)

    def _stop(self) -> None:
        """Doors first, then the proxy once it has drained, then the pods, then the agent that tells of it."""
        if self._stopping:
            return
        self._stopping = True
        self._unit.ends()
        self.voice.say("stopping")
        self._doors.want([])
        self._loopback.want([])
        self._proxy.stop(_PROXY_STOP_SECONDS, self._stop_pods)

    def _stop_pods(self) -> None:
        self._fleet.stop(lambda: self._agent.stop(_AGENT_STOP_SECONDS, self._stopped))

    def _stopped(self) -> None:
        self._broker.stop()
        self._stem.stop()
        self._access_log.finish()
        _remove(places.supervisor_pid_file(self._mesh))
        with contextlib.suppress(OSError):
            os.rmdir(places.forward_directory(self._mesh, create=False))
        self._loop.stop()

    def _proxy_command(self, one: Incarnation) -> tuple[Sequence[str], Sequence[int]]:
        """With what every proxy gets; its own descriptors are its keeper's matter."""
        flags = {
            "metrics-fd": self._metrics.fileno(),
            "memory-fd": self._memory,
            "access-fd": self._access_log.descriptor,
            "diag-fd": self._diagnostics[one.seat].fileno(),
        }
        argv = [*self._programs.proxy]
        for name, descriptor in flags.items():
            argv += (f"--{name}", str(descriptor))
        if os.getuid() == 0:
            argv += ("--uid", str(PROXY_UID), "--gid", str(PROXY_UID))
        return argv, tuple(flags.values())

    def _make_fleet(self, outfits: Outfits, way: str, problem: Problem | None) -> Fleet:
        say = self.voice.say
        return Fleet(
            Surroundings(
                loop=self._loop,
                stem=self._stem,
                broker=self._broker,
                proxy=self._proxy_link,
                addresses=Addresses(self._loop, self._proxy_link, self._report_soon, say),
                outfits=outfits,
                way=way,
                problem=problem,
                say=say,
                report=self._report_soon,
            )
        )

    def _make_agent(self) -> Daemon:
        def prepare() -> tuple[Sequence[str], Sequence[int]]:
            link = self._agent_link.connect()
            self._loop.later(0, link.close)
            self._report_soon()
            argv = [*self._programs.agent, "--mesh", self._mesh]
            for manifest in self._manifests:
                argv += ("--manifest", manifest)
            if self._home:
                argv += ("--home", self._home)
            return [*argv, "--control-fd", str(link.fileno())], (link.fileno(),)

        log = LogFile(places.process_log(self._mesh, "agent"))
        keep = frozenset((privileges.CAP_DAC_READ_SEARCH,)) if os.getuid() == 0 else frozenset[int]()
        return Daemon("agent", self._loop, log, self.voice.say, prepare, keep)

    def _metrics_listener(self, port: int) -> socket.socket:
        try:
            listener = socket.create_server(("127.0.0.1", port), backlog=16)
        except OSError as fault:
            listener = socket.create_server(("127.0.0.1", 0), backlog=16)
            holder = holder_of(port) if fault.errno == errno.EADDRINUSE else ""
            self._metrics_why = f"port {port}: {blame(os.strerror(fault.errno or 0), holder)}"
            self.voice.say(f"cannot use {self._metrics_why}")
        listener.setblocking(False)
        self.voice.say(f"metrics at http://127.0.0.1:{listener.getsockname()[1]}/metrics")
        return listener


def _gain_namespaces() -> Problem | None:
    """An ordinary user becomes privileged over a user namespace that holds nobody else."""
    if os.getuid() == 0:
        return None
    try:
        namespaces.enter_user_namespace()
    except OSError as fault:
        return explain("user-namespace", fault.strerror or str(fault))
    try:
        namespaces.forbid_user_namespaces()
    except OSError:
        return None  # the pods' filter forbids them too
    return None


def _claim(mesh: str) -> int:
    path = places.supervisor_pid_file(mesh)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise AlreadyRunning(f"mesh {mesh} is already run by process {holder}") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
