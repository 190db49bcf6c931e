"""Ports of the box that a mesh wants to open, before it runs and from where more can be seen than by the mesh itself."""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tulle.cli.words import Ended, Exit, say_faults
from tulle.wire.plan import DoorState

if TYPE_CHECKING:
    from tulle.model.resource import Resource
    from tulle.wire.plan import DoorStatus

FREED_SECONDS = 1.0
"""How long a mesh that was just killed may take to let go of its ports."""


def refuse_closed_doors(ports: Sequence[int], resources: "Iterable[Resource]") -> None:
    """Opens each port for a moment; says all that cannot be and ends."""
    deadline = time.monotonic() + FREED_SECONDS
    while closed := [fault for port in ports if (fault := _tried(port))]:
        if time.monotonic() >= deadline or any(one.state is DoorState.REFUSED for one in closed):
            refuse(closed, resources)
        time.sleep(0.05)


def refuse(closed: "Iterable[DoorStatus]", resources: "Iterable[Resource]") -> None:
    """Says which doors are closed, each at its line, and ends."""
    from tulle.agent.doors import closed_doors, door_places
    from tulle.agent.faults import fault_of

    say_faults(map(fault_of, closed_doors(closed, door_places(resources))))
    raise Ended(Exit.REFUSED)


def _tried(port: int) -> "DoorStatus | None":
    from tulle.supervisor.door import describe_fault, open_door

    try:
        open_door(port).close()
    except OSError as fault:
        return describe_fault(port, fault)
    return None
