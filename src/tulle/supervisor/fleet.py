"""All pods of the plan: what starts when, what a new plan changes, what the agent is told."""

import functools
import os
import sys
from collections.abc import Callable

from tulle.kit import places
from tulle.supervisor.addresses import Addresses
from tulle.supervisor.broker import Broker
from tulle.supervisor.command import environment_of, needed_for
from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.hosts import HostFiles
from tulle.supervisor.init import Service
from tulle.supervisor.journal import LogFile
from tulle.supervisor.loop import Loop
from tulle.supervisor.pod import Pod
from tulle.supervisor.steps import Problem
from tulle.supervisor.tree import View
from tulle.supervisor.user import UidTable, identify
from tulle.wire.plan import Plan, PodSpec, PodStatus


class Fleet:
    """Makes what runs equal to the plan. A pod whose spec stays the same is not touched."""

    def __init__(
        self,
        mesh: str,
        loop: Loop,
        broker: Broker,
        proxy: ProxyLink,
        problem: Problem | None,
        report: Callable[[], None],
        say: Callable[[str], None],
        way: str,
        descriptors: int,
    ) -> None:
        """`descriptors`: the limit that services start with."""
        self.loop = loop
        self.broker = broker
        self.proxy = proxy
        self.addresses = Addresses(loop, proxy, self.changed, say)
        self.way = way
        self.say = say
        self._mesh = mesh
        self._descriptors = descriptors
        self._problem = problem
        self._report = report
        self._pods: dict[str, Pod] = {}
        self._specs: dict[str, PodSpec] = {}
        self._protected: list[str] = []
        self._uids = UidTable(f"{places.state_dir(mesh)}/uids") if os.getuid() == 0 else None
        self._files = HostFiles(places.runtime_dir(mesh))
        self._logs: dict[str, LogFile] = {}
        self._stopping: Callable[[], None] | None = None

    @property
    def statuses(self) -> list[PodStatus]:
        """Of every pod, by name."""
        return [self._pods[name].status for name in sorted(self._pods)]

    def apply(self, plan: Plan) -> None:
        """Stops what is no longer planned or planned otherwise, and starts what is missing."""
        if self._stopping:
            return
        self.addresses.want(plan.addresses)
        try:
            self._files.write_hosts(plan.hosts)
        except OSError as fault:  # a full disk is no reason to end what serves
            self.say(f"cannot write what pods see as /etc/hosts ({fault}); they keep what they had")
        self._protected = plan.protected
        self._specs = {spec.name: spec for spec in plan.pods}
        for name, pod in list(self._pods.items()):
            if self._specs.get(name) != pod.spec:
                pod.stop(functools.partial(self._stopped, name))
        self._start_missing()

    def stop(self, when_stopped: Callable[[], None]) -> None:
        """Stops everything, what depends on others first; calls back when nothing runs."""
        self._stopping = when_stopped
        self._specs = {}
        self._stop_next()

    def changed(self, pod: str) -> None:
        """A pod's state is another: others may start now, and the agent is told."""
        self._report()
        if not self._stopping and pod in self._pods and self._pods[pod].is_ready:
            self._start_waiting()

    def why_no_pods(self) -> Problem | None:
        """What keeps this box from making pods, when that is known."""
        return self._problem

    def log(self, pod: str) -> LogFile:
        """The pod's log."""
        if pod not in self._logs:
            self._logs[pod] = LogFile(places.pod_log(self._mesh, pod))
        return self._logs[pod]

    def service(self, spec: PodSpec, stdout: int, stderr: int) -> Service:
        """What pid 1 of this pod must know. Raises StepFailed."""
        who = identify(spec.name, spec.user, self._uids)
        env = environment_of(spec, who)
        view = None
        writable = [os.path.join(spec.cwd, path) for path in spec.writable]
        if spec.isolated:
            view = View(
                needed=[spec.cwd, *writable, *self._protected, *needed_for(spec.argv, env["PATH"], spec.cwd)],
                writable=writable,
                shared=[os.path.join(one.cwd, path) for one in self._specs.values() for path in one.writable],
                protected=self._protected,
                code=own_code(),
                hidden=hidden_directories(self._mesh),
                files=self._files.of(spec, who),
                uid=who.uid,
                gid=who.gid,
                groups=who.groups,
            )
        hostname = spec.name.rpartition("/")[2][:63]
        return Service(
            spec.argv, env, spec.cwd, who, view, hostname, spec.readiness, stdout, stderr, self._descriptors, writable
        )

    def _start_missing(self) -> None:
        for name, spec in self._specs.items():
            if name not in self._pods:
                self._pods[name] = Pod(spec, self)
        self._start_waiting()

    def _start_waiting(self) -> None:
        for pod in list(self._pods.values()):
            if pod.state != "waiting":
                continue
            missing = [one for one in pod.spec.depends_on if not self._is_ready(one)]
            if missing:
                pod.wait_for(missing)
            else:
                pod.start()

    def _is_ready(self, name: str) -> bool:
        pod = self._pods.get(name)
        return pod is not None and pod.is_ready

    def _stopped(self, name: str) -> None:
        self._report()
        self.proxy.gone(name)
        del self._pods[name]
        self._logs.pop(name).close()
        if self._stopping:
            self._stop_next()
        else:
            self._start_missing()

    def _stop_next(self) -> None:
        if not self._pods:
            if self._stopping:
                self._stopping()
            return
        leaned_on = {one for pod in self._pods.values() for one in pod.spec.depends_on}
        free = [name for name in self._pods if name not in leaned_on] or list(self._pods)
        for name in free:
            if name in self._pods and self._pods[name].state != "stopping":
                self._pods[name].stop(functools.partial(self._stopped, name))


def own_code() -> list[str]:
    """Where what Tulle runs comes from: read-only in every pod, lest a service decides what runs outside at the next start."""
    own = [] if sys.prefix == sys.base_prefix else [sys.prefix]
    return [*own, *(path for path in sys.path if os.path.isabs(path) and os.path.isdir(path))]


def hidden_directories(mesh: str) -> list[str]:
    """What no pod sees: the parents of every mesh's directories where they are Tulle's own, else this mesh's."""
    found: list[str] = []
    for parent, variable in (
        (places.runtime_parent(), "TULLE_RUNTIME_DIR"),
        (places.state_parent(), "TULLE_STATE_DIR"),
    ):
        found.append(os.path.realpath(f"{parent}/{mesh}" if os.environ.get(variable) else parent))
    return found
