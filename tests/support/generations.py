"""All that tables say, as plain values to be compared."""

from typing import Any

from tulle.core.tables import Tables


def described(tables: Tables) -> Any:
    """Without what is remembered of callers."""
    return {
        "generation": tables.generation,
        "limits": tables.limits,
        "by_name": {name: values(port) for name, port in tables.by_name.items()},
        "by_address": {address: port.service for address, port in tables.by_address.items()},
        "doors": {door: port.service for door, port in tables.doors.items()},
        "callers": values(tables.callers),
        "backends": values(tables.backends),
        "endpoints": {key: values(endpoint) for key, endpoint in tables.endpoints.items()},
        "pods": values(tables.pods),
    }


def values(one: Any) -> Any:
    """An object by its public attributes, all the way down."""
    if isinstance(one, dict):
        return {key: values(value) for key, value in one.items()}
    if isinstance(one, list | tuple):
        return [values(value) for value in one]
    if not type(one).__module__.startswith("tulle.core"):
        return one
    named = (
        ["denies", "allows"] if type(one).__name__ == "AuthzTable" else [name for name in dir(one) if name[0] != "_"]
    )
    found = {name: getattr(one, name) for name in named if name != "plans"}
    return {name: values(value) for name, value in found.items() if not callable(value)}
