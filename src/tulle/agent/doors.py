"""Ports of the box that could not be opened, as problems of the line that wants them."""

from collections.abc import Iterable, Mapping

from tulle.model.place import NOWHERE, Place, Problem
from tulle.model.resource import Resource
from tulle.model.resources import Service
from tulle.wire.plan import DoorState, DoorStatus, blame


def door_places(resources: Iterable[Resource]) -> dict[int, Place]:
    """Port of the box → where it is asked for."""
    return {port: place for one in resources if isinstance(one, Service) for port, place in one.doors()}


def closed_doors(doors: Iterable[DoorStatus], places: Mapping[int, Place]) -> list[Problem]:
    """One for each that is not open."""
    return [
        Problem.at(places.get(door.port, NOWHERE), f"door-{door.state}", _message(door), _hint(door))
        for door in doors
        if door.state in (DoorState.TAKEN, DoorState.REFUSED)
    ]


def _message(door: DoorStatus) -> str:
    return f"port {door.port} of the box cannot be opened: {blame(door.why, door.holder)}"


def _hint(door: DoorStatus) -> str:
    if door.state is DoorState.TAKEN:
        return f"end that program (`ss -ltnp sport = :{door.port}`), or expose another port"
    return (
        "ports below net.ipv4.ip_unprivileged_port_start need root: expose one of 1024 or above, or lower that setting"
    )
