"""`tulle get`: what a running mesh consists of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tulle.cli.options import json_option, mesh_option
from tulle.cli.words import show, show_json, show_resources, show_table

if TYPE_CHECKING:
    from tulle.wire.snapshot import AttachedEndpoint, HostEndpoint, Match, PodEndpoint, Snapshot

WHATS = ("services", "workloads", "routes", "policies", "hosts", "snapshot", "resources")


@click.command()
@click.argument("what", type=click.Choice(WHATS), default="services")
@mesh_option
@json_option
def get(what: str, mesh: str | None, as_json: bool) -> None:
    """Print services, workloads, routes or policies in force; the snapshot, or the resources it came from.

    `hosts` are lines for the box's own hosts file, by which attached services dial the mesh by name.
    """
    from tulle.cli.running import running

    found = running(mesh)
    if what == "resources":
        show_resources(found.text("/resources").decode(), as_json=as_json)
        return
    from tulle.wire.snapshot import decode_snapshot

    text = found.text("/snapshot")
    if what == "snapshot":
        import msgspec

        show_json(msgspec.Raw(text))
        return
    snapshot = decode_snapshot(text)
    if what == "hosts" and not as_json:
        show(_hosts(snapshot))
        return
    if as_json:
        show_json(_documents(what, snapshot))
        return
    header, rows = {"services": _services, "workloads": _workloads, "routes": _routes, "policies": _policies}[what](
        snapshot
    )
    show_table(header, rows)


Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def _documents(what: str, snapshot: "Snapshot") -> object:
    if what == "services":
        return snapshot.services
    if what == "policies":
        return snapshot.policies
    if what == "hosts":
        return {service.name: service.address for service in snapshot.services}
    if what == "routes":
        return [
            {"service": service.name, "port": port.port, "routes": port.routes}
            for service in snapshot.services
            for port in service.ports
        ]
    return [
        dict(zip(("workload", "service", "version", "endpoint", "principal"), row, strict=True))
        for row in _workloads(snapshot)[1]
    ]


def _services(snapshot: "Snapshot") -> Table:
    doors: dict[tuple[str, int], str] = {(door.service, door.service_port): f":{door.port}" for door in snapshot.doors}
    rows = [
        (
            service.name,
            service.address,
            f"{port.port}→{port.target_port}" if port.port != port.target_port else str(port.port),
            port.protocol.value,
            doors.get((service.name, port.port), "-"),
            str(len(service.policies)),
        )
        for service in snapshot.services
        for port in service.ports
    ]
    return ("SERVICE", "ADDRESS", "PORT", "PROTOCOL", "DOOR", "POLICIES"), rows


def _hosts(snapshot: "Snapshot") -> str:
    from tulle.compiler.plan import host_lines
    from tulle.model.names import DEFAULT_NAMESPACE

    addresses = {service.name: service.address for service in snapshot.services}
    return "".join(host_lines(addresses, DEFAULT_NAMESPACE, addresses)).rstrip()


def _workloads(snapshot: "Snapshot") -> Table:
    callers = {caller.pod: caller for caller in snapshot.callers}
    rows: list[tuple[str, ...]] = []
    seen = set()
    for backend in snapshot.backends:
        for endpoint in backend.endpoints:
            caller = callers.get(endpoint.workload)
            seen.add(endpoint.workload)
            principal = caller.principal if caller else "-"
            rows.append((endpoint.workload, backend.service, backend.version or "-", _endpoint(endpoint), principal))
    rows += [(pod, caller.service, "-", "-", caller.principal) for pod, caller in callers.items() if pod not in seen]
    return ("WORKLOAD", "SERVICE", "VERSION", "ENDPOINT", "PRINCIPAL"), sorted(set(rows))


def _endpoint(endpoint: "PodEndpoint | HostEndpoint | AttachedEndpoint") -> str:
    host = getattr(endpoint, "host", None) or endpoint.__struct_config__.tag
    return f"{host}:{endpoint.port}"


def _routes(snapshot: "Snapshot") -> Table:
    rows: list[tuple[str, ...]] = []
    for service in snapshot.services:
        for port in service.ports:
            for route in port.routes:
                shares = ", ".join(f"{share.backend} {share.weight}" for share in route.backends) or "-"
                rows.append(
                    (
                        f"{service.name}:{port.port}",
                        route.name,
                        ", ".join(route.hostnames) or "*",
                        _matches(route.matches),
                        shares,
                    )
                )
    return ("SERVICE", "ROUTE", "HOSTS", "MATCHES", "BACKENDS"), rows


def _matches(matches: "Sequence[Match]") -> str:
    words = []
    for match in matches:
        path = match.path
        parts = [match.method or "", (path.value if path.exact else f"{path.value.rstrip('/')}/*") if path else ""]
        parts += [f"{header.name}={header.value}" for header in match.headers]
        words.append(" ".join(part for part in parts if part))
    return " | ".join(word or "any" for word in words) or "any"


def _policies(snapshot: "Snapshot") -> Table:
    rows: list[tuple[str, ...]] = []
    for policy in snapshot.policies:
        services = [service.name for service in snapshot.services if policy.name in service.policies]
        guards = "all" if len(services) == len(snapshot.services) > 1 else ", ".join(services) or "-"
        rows.append((policy.name, policy.action.value, str(len(policy.rules)), guards))
    return ("POLICY", "ACTION", "RULES", "GUARDS"), rows
