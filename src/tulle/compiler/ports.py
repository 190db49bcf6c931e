"""Names of ports → their numbers, as the workloads behind a service give them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tulle.model.place import Place, Problem, nearest, place_of
from tulle.model.resources import Service, ServicePort
from tulle.model.unread import Unread
from tulle.model.workloads import Workload


def resolved(
    services: Mapping[str, Service],
    behind: Mapping[str, tuple[str, ...]],
    workloads: Mapping[str, Workload],
    unread: Unread,
    problems: list[Problem],
) -> dict[str, Service]:
    """The services with a number for each `targetPort`."""
    found: dict[str, Service] = {}
    for name, one in services.items():
        found[name] = one
        if any(isinstance(port.target_port, str) for port in one.spec.ports):
            members = [workloads[member] for member in behind[name] if not unread.may_declare(member)]
            ports = tuple(_numbered(port, one, members, problems) for port in one.spec.ports)
            found[name] = replace(one, spec=replace(one.spec, ports=ports))
    return found


def _numbered(port: ServicePort, service: Service, members: Sequence[Workload], problems: list[Problem]) -> ServicePort:
    called = port.target_port
    if not isinstance(called, str):
        return port
    place = place_of(called, port.place)
    numbers: dict[int, str] = {}
    for member in members:
        number = next((one.port for one in member.spec.ports if one.name == called), None)
        if number is None:
            problems.append(_unnamed(called, service, member, place))
            return port
        numbers.setdefault(number, member.qualified)
    if len(numbers) > 1:
        told = ", ".join(f"{number} in `{member}`" for number, member in numbers.items())
        message = f"port `{called}` of Service `{service.qualified}` has several numbers: {told}"
        problems.append(Problem.at(place, "unsupported-field", message, "let all workloads listen on one"))
        return port
    return replace(port, target_port=next(iter(numbers), None))


def _unnamed(called: str, service: Service, member: Workload, place: Place) -> Problem:
    names = [str(one.name) for one in member.spec.ports if one.name]
    message = f"Service `{service.qualified}` targets port `{called}`, which `{member.qualified}` does not name"
    known = f"it names {', '.join(names)}" if names else "give one of its `ports` that `name`"
    return Problem.at(place, "unknown-port", message, nearest(called, names) or known)
