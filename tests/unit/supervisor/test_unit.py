"""The unit hears how the mesh goes, in a line."""

from tulle.supervisor.unit import summary
from tulle.wire.plan import DoorState, DoorStatus, PodState, PodStatus, Report


def pod(name: str, state: PodState, why: str = "") -> PodStatus:
    return PodStatus(name, state, 0, 0, 0.0, why)


def test_a_ready_mesh_is_said_in_brief() -> None:
    pods = [pod("default/web", PodState.READY), pod("default/api", PodState.READY)]

    assert summary(Report(1, pods, [DoorStatus(80, DoorState.OPEN)], "")) == "2 of 2 pods ready"


def test_what_is_waited_for_is_named() -> None:
    pods = [pod("default/api", PodState.STARTING), pod("default/web", PodState.WAITING, "default/api")]
    doors = [DoorStatus(80, DoorState.TAKEN)]

    words = summary(Report(1, pods, doors, ""))

    assert words == "0 of 2 pods ready; default/api: starting; default/web: waiting, default/api; port 80: taken"
