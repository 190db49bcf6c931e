"""Who has what the mesh cannot have, as this process sees it: the mesh of an ordinary user sees less of that user's programs."""

from typing import TypeVar

import msgspec

from tulle.supervisor.holder import holders_of
from tulle.wire.plan import DoorState
from tulle.wire.status import AddressLine, AttachedLine, DoorLine, NodeStatus

L = TypeVar("L", DoorLine, AddressLine)


def with_holders(found: NodeStatus) -> NodeStatus:
    """With a name for who has each door and address that is taken, and who listens where an attached service should."""
    taken = {door.port for door in found.doors if door.state is DoorState.TAKEN}
    taken |= {_port(one) for one in found.closed_addresses if one.state is DoorState.TAKEN}
    holders = holders_of(taken)
    strangers = holders_of({port for one in found.attached for port in one.squatted}, virtual=False)
    return msgspec.structs.replace(
        found,
        doors=tuple(_held(door, door.port, holders) for door in found.doors),
        closed_addresses=tuple(_held(one, _port(one), holders) for one in found.closed_addresses),
        attached=tuple(_squatted(one, strangers) for one in found.attached),
    )


def _held(one: L, port: int, holders: dict[int, str]) -> L:
    holder = (holders.get(port) or one.holder) if one.state is DoorState.TAKEN else ""
    return msgspec.structs.replace(one, holder=holder)


def _squatted(one: AttachedLine, strangers: dict[int, str]) -> AttachedLine:
    """An empty text where nobody listens any more."""
    return msgspec.structs.replace(one, holders=tuple(strangers.get(port, "") for port in one.squatted))


def _port(one: AddressLine) -> int:
    """0 of a path, which is never taken."""
    return 0 if one.address.startswith("/") else int(one.address.rpartition(":")[2])
