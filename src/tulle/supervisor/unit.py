"""What the systemd unit of a mesh hears from its supervisor."""

from collections.abc import MutableMapping

from tulle.kit.notify import Unit
from tulle.supervisor.loop import Loop
from tulle.wire.plan import DoorState, PodState, Report

_PLAN_SECONDS = 20.0
"""For the agent to come up with a plan, before the unit counts as started without one."""


class UnitLink:
    """Tells the unit when the mesh is known, how it goes, that it is alive and that it ends."""

    def __init__(self, loop: Loop, environment: MutableMapping[str, str], plan_seconds: float = _PLAN_SECONDS) -> None:
        """Takes what concerns the unit out of the environment."""
        self._loop = loop
        self._plan_seconds = plan_seconds
        self._unit = Unit(environment)

    def begin(self) -> None:
        """Where no manifest can be used there is no plan; systemd would take that for a start that hangs."""
        if self._unit.listens:
            self._loop.later(self._plan_seconds, self._unit.ready)
        if self._unit.watchdog_seconds:
            self._be_alive()

    def planned(self) -> None:
        """What is ordered after the unit starts now: doors are open, policies on their way, pods being made."""
        self._unit.ready()

    def goes(self, report: Report) -> None:
        """How it is, in a line."""
        if self._unit.listens:
            self._unit.status(summary(report))

    def ends(self) -> None:
        """It stops, on purpose."""
        self._unit.stopping()

    def _be_alive(self) -> None:
        self._unit.alive()
        self._loop.later(self._unit.watchdog_seconds / 3, self._be_alive)


def summary(report: Report) -> str:
    """`3 of 4 pods ready; default/web: starting, exit 1`."""
    waiting = [one for one in report.pods if one.state is not PodState.READY]
    words = [f"{len(report.pods) - len(waiting)} of {len(report.pods)} pods ready"]
    words += [f"{one.name}: {one.state}{f', {one.why}' if one.why else ''}" for one in waiting]
    words += [f"port {door.port}: {door.state}" for door in report.doors if door.state is not DoorState.OPEN]
    return "; ".join(words)
