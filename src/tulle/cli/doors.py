"""Ports of the box that a mesh wants to open, before it runs and from where more can be seen than by the mesh itself."""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tulle.cli.words import Ended, Exit, say_faults
from tulle.wire.plan import DoorState

if TYPE_CHECKING:
    from tulle.model.resource import Resource
    from tulle.wire.plan import DoorStatus
    from tulle.wire.status import AddressLine, AttachedLine, DoorLine

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
    from tulle.agent.doors import closed_doors
    from tulle.agent.faults import fault_of

    say_faults(map(fault_of, closed_doors(closed, resources)))
    raise Ended(Exit.REFUSED)


def holder(door: "DoorLine") -> str:
    """Who has a door that is taken. The mesh of an ordinary user sees less of that user's programs than this process."""
    from tulle.supervisor.holder import holder_of

    return (holder_of(door.port) or door.holder) if door.state is DoorState.TAKEN else ""


def address_holder(one: "AddressLine") -> str:
    """The same of an address of the box at which attached callers cannot be served."""
    from tulle.supervisor.holder import holder_of

    if one.state is not DoorState.TAKEN:  # nor is a path ever
        return ""
    return holder_of(int(one.address.rpartition(":")[2])) or one.holder


def squatters(one: "AttachedLine") -> tuple[str, ...]:
    """Who listens now where an attached service should; an empty text where nobody does any more."""
    from tulle.supervisor.holder import holder_of

    return tuple(holder_of(port, virtual=False) for port in one.squatted)


def _tried(port: int) -> "DoorStatus | None":
    from tulle.supervisor.door import describe_fault, open_door

    try:
        open_door(port).close()
    except OSError as fault:
        return describe_fault(port, fault)
    return None
