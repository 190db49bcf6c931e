"""A snapshot laid out for look-ups: what the proxy holds, one generation at a time.

Done in pieces, since a large mesh takes a tenth of a second, and beside the generation before, of which it takes over what
came in the same octets. The rules of a policy are checked here and laid out when a caller first needs them.
"""

from collections.abc import Generator, Iterable
from typing import Final, TypeVar

import msgspec

from tulle.core.authz import AuthzTable, PolicyStore
from tulle.core.backends import BackendTable, EndpointRef, RouteTable
from tulle.core.generation import Parts, ServicePortTable, ServiceTable, Tables
from tulle.core.layout import InconsistentSnapshot, authz_of, backend_of, caller_of, keep, refuse, service_of
from tulle.core.pieces import at_once
from tulle.core.policies import ANONYMOUS, CallerRef
from tulle.wire.outline import (
    BACKENDS,
    CALLERS,
    POLICIES,
    SERVICES,
    Section,
    encode_whole,
    fault_of,
    outline,
    without_parts,
)
from tulle.wire.snapshot import SCHEMA_VERSION, Snapshot, encode_snapshot

__all__ = [
    "ANONYMOUS",
    "AuthzTable",
    "BackendTable",
    "CallerRef",
    "EndpointRef",
    "InconsistentSnapshot",
    "RouteTable",
    "ServicePortTable",
    "Tables",
    "build_tables",
    "lay_out",
    "let_go",
    "text_of",
]

Made = TypeVar("Made")

SMALL: Final = 64
"""Policies, callers and backends that are looked at in one piece: a few microseconds each."""
LARGE: Final = 8
"""Services that are laid out in one piece: some tens of microseconds each."""
MANY: Final = 100
"""Policies of one service that no first request is to wait for."""


def build_tables(snapshot: Snapshot, previous: Tables | None = None) -> Tables:
    """`lay_out`, in one go. Raises InconsistentSnapshot."""
    return at_once(lay_out(encode_snapshot(snapshot), previous))


def lay_out(text: bytes, previous: Tables | None = None) -> Generator[None, None, Tables]:
    """Decodes and lays out a snapshot, a bounded piece of it each time it is asked to go on; returns the tables.

    Endpoints that `previous` had are the same objects, with their state; so is what is made of parts that did not change.
    Raises msgspec.MsgspecError or UnicodeDecodeError as `decode_snapshot` does, and InconsistentSnapshot.
    """
    try:
        found = outline(text)
        if found.schema_version != SCHEMA_VERSION:
            raise InconsistentSnapshot(f"schema_version {found.schema_version} is not {SCHEMA_VERSION}")
        tables = Tables(without_parts(found), Parts())
        old = Tables(tables.outline, Parts()) if previous is None else previous
        yield
        yield from tables.parts.fill(found)
        doors = found.doors
        del found  # the raw parts have done their duty, and would lie between what stays
        yield from _backends(tables, old)
        yield from _callers(tables, old)
        places: dict[str, int] = {}
        yield from _policies(tables.parts.policies, places, old.parts.policies)
        yield from _services(tables, places, old)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as fault:
        raise fault_of(text, fault) from fault
    for door in doors:
        target = tables.by_name.get((door.service, door.service_port))
        where = f"{door.service}:{door.service_port}"
        if target is None:
            raise InconsistentSnapshot(f"door {door.port} leads to {where}, which is not there")
        refuse(door.port in tables.doors, f"door {door.port} is there twice")
        tables.doors[door.port] = target
    yield from _prepare_for_callers(tables, old)
    return tables


def text_of(tables: Tables) -> bytes:
    """The document that the tables were laid out from."""
    parts = tables.parts
    return encode_whole(tables.outline, parts.callers, parts.services, parts.backends, parts.policies.section)


def let_go(tables: Tables) -> Generator[None, None, None]:
    """Frees what a generation that is no longer in force leaves, a piece at a time. What is still served keeps what it needs."""
    parts = tables.parts
    return _free([*parts.policies.made.values(), *parts.made_services, *tables.by_name.values()])


def _free(leaving: list[object]) -> Generator[None, None, None]:
    while leaving:
        del leaving[-LARGE:]
        yield


def _by_octets(section: Section, made: Iterable[tuple[int, Made]]) -> Generator[None, None, dict[bytes, Made]]:
    """What was made of which parts, by their octets; `made`: each with the place of its part."""
    found: dict[bytes, Made] = {}
    for number, (index, one) in enumerate(made):
        if number % SMALL == 0:
            yield
        found[section.octets(index)] = one
    return found


def _backends(tables: Tables, old: Tables) -> Generator[None, None, None]:
    before = yield from _by_octets(old.parts.backends, enumerate(old.parts.made_backends))
    section = tables.parts.backends
    for index in range(len(section)):
        if index % SMALL == 0:
            yield
        octets = section.octets(index)
        backend = before.get(octets)
        if backend is None:
            backend = backend_of(BACKENDS.decode(octets, index), tables, old)
        else:
            for endpoint in backend.endpoints:
                keep(endpoint, tables)
        refuse(backend.name in tables.backends, f"backend {backend.name} is there twice")
        tables.backends[backend.name] = backend
        tables.parts.made_backends.append(backend)


def _callers(tables: Tables, old: Tables) -> Generator[None, None, None]:
    before = yield from _by_octets(old.parts.callers, enumerate(old.parts.made_callers))
    section = tables.parts.callers
    for index in range(len(section)):
        if index % SMALL == 0:
            yield
        octets = section.octets(index)
        caller = before.get(octets)
        if caller is None:
            caller = caller_of(CALLERS.decode(octets, index))
        refuse(caller.pod in tables.callers, f"pod {caller.pod} is there twice")
        tables.callers[caller.pod] = caller
        tables.parts.made_callers.append(caller)


def _policies(store: PolicyStore, places: dict[str, int], old: PolicyStore) -> Generator[None, None, None]:
    """Checks all, and fills in where each is by name. Those that were laid out and did not change are so again."""
    before = yield from _by_octets(old.section, list(old.made.items()))
    section = store.section
    for index in range(len(section)):
        if index % SMALL == 0:
            yield
        octets = section.octets(index)
        made = before.get(octets)
        if made is None:
            name = POLICIES.decode(octets, index).name
        else:
            name = made.name
            store.made[index] = made
        refuse(name in places, f"policy {name} is there twice")
        places[name] = index


def _services(tables: Tables, places: dict[str, int], old: Tables) -> Generator[None, None, None]:
    before = yield from _by_octets(old.parts.services, enumerate(old.parts.made_services))
    shared: dict[frozenset[str], AuthzTable] = {}
    section = tables.parts.services
    for index in range(len(section)):
        if index % LARGE == 0:
            yield
        octets = section.octets(index)
        document = SERVICES.decode(octets, index)
        authz = authz_of(document, tables.parts.policies, places, shared)
        kept = before.get(octets)
        if kept is not None and kept.holds(tables.backends):
            service = ServiceTable([port.under(authz) for port in kept.ports], kept.backends)
        else:
            service = service_of(document, tables, authz)
        for port in service.ports:
            place = f"service {port.service}:{port.port}"
            refuse((port.service, port.port) in tables.by_name, f"{place} is there twice")
            refuse((port.address, port.port) in tables.by_address, f"{place}: {port.address} is another's")
            tables.by_name[(port.service, port.port)] = port
            tables.by_address[(port.address, port.port)] = port
        tables.parts.made_services.append(service)


def _prepare_for_callers(tables: Tables, old: Tables) -> Generator[None, None, None]:
    """Lays out the policies of the ports that are called now, and where there are many, so that no request has to wait for it."""
    for number, (name, port) in enumerate(tables.by_name.items()):
        if number % SMALL == 0:
            yield
        was = old.by_name.get(name)
        if len(port.authz.places) >= MANY or (was is not None and was.plans):
            yield from port.authz.preparing()
