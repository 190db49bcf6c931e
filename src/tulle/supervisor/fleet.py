"""All pods of the plan: what starts when, what a new plan changes, what the agent is told."""

import functools
from collections.abc import Callable

from tulle.supervisor.pod import Pod
from tulle.supervisor.surroundings import Surroundings
from tulle.wire.plan import Plan, PodSpec, PodState, PodStatus


class Fleet:
    """Makes what runs equal to the plan. A pod whose spec stays the same is not touched."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._pods: dict[str, Pod] = {}
        self._specs: dict[str, PodSpec] = {}
        self._stopping: Callable[[], None] | None = None

    @property
    def statuses(self) -> list[PodStatus]:
        """Of every pod, by name."""
        return [self._pods[name].status for name in sorted(self._pods)]

    def apply(self, plan: Plan) -> None:
        """Stops what is no longer planned or planned otherwise, and starts what is missing."""
        if self._stopping:
            return
        self._around.addresses.want(plan.addresses)
        try:
            self._around.outfits.follow(plan)
        except OSError as fault:  # a full disk is no reason to end what serves
            self._around.say(f"cannot write what pods see as /etc/hosts ({fault}); they keep what they had")
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

    def _changed(self, pod: str) -> None:
        """A pod's state is another: others may start now, and the agent is told."""
        self._around.report()
        if not self._stopping and pod in self._pods and self._pods[pod].is_ready:
            self._start_waiting()

    def _start_missing(self) -> None:
        for name, spec in self._specs.items():
            if name not in self._pods:
                self._pods[name] = Pod(spec, self._around, functools.partial(self._changed, name))
        self._start_waiting()

    def _start_waiting(self) -> None:
        for pod in list(self._pods.values()):
            if pod.state is not PodState.WAITING:
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
        self._around.report()
        self._around.proxy.gone(name)
        del self._pods[name]
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
            if name in self._pods and self._pods[name].state is not PodState.STOPPING:
                self._pods[name].stop(functools.partial(self._stopped, name))
