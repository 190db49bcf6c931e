"""As much of JSON Schema as `mesh.schema.json` uses; anything else in a schema is a KeyError, not a pass."""

import re
from typing import Any

TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
}  # fmt: skip
SAID = {"$schema", "$defs", "title", "description"}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, at: str = "") -> list[str]:
    """What is wrong with a value, place first; nothing when it conforms."""
    root = schema if root is None else root
    found: list[str] = []
    for word, claim in schema.items():
        if word not in SAID and word not in ("properties", "additionalProperties"):
            found += CHECKS[word](value, claim, root, at)
    if isinstance(value, dict) and (schema.keys() & {"properties", "additionalProperties"}):
        found += _fields(value, schema, root, at)
    return found


def _fields(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    found = []
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, held in value.items():
        place = f"{at}.{name}".lstrip(".")
        if name in known:
            found += faults(held, known[name], root, place)
        elif others is False:
            found.append(f"{place}: not a field")
        elif isinstance(others, dict):
            found += faults(held, others, root, place)
    return found


def _type(value: Any, claim: str | list[str], root: dict[str, Any], at: str) -> list[str]:
    wanted = [claim] if isinstance(claim, str) else claim
    fits = any(isinstance(value, TYPES[one]) and (one == "boolean" or not isinstance(value, bool)) for one in wanted)
    return [] if fits else [f"{at}: not {' or '.join(wanted)}"]


def _reference(value: Any, claim: str, root: dict[str, Any], at: str) -> list[str]:
    return faults(value, root["$defs"][claim.removeprefix("#/$defs/")], root, at)


def _any_of(value: Any, claim: list[dict[str, Any]], root: dict[str, Any], at: str) -> list[str]:
    each = [faults(value, one, root, at) for one in claim]
    return [] if [] in each else [f"{at}: fits none of {len(claim)}: {each}"]


def _items(value: Any, claim: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    members = value if isinstance(value, list) else []
    return [fault for number, one in enumerate(members) for fault in faults(one, claim, root, f"{at}[{number}]")]


def _if(fits: bool, at: str, words: str) -> list[str]:
    return [] if fits else [f"{at}: {words}".lstrip(": ")]


CHECKS: dict[str, Any] = {
    "type": _type,
    "$ref": _reference,
    "anyOf": _any_of,
    "items": _items,
    "enum": lambda value, claim, _, at: _if(value in claim, at, f"not one of {claim}"),
    "pattern": lambda value, claim, _, at: _if(not isinstance(value, str) or bool(re.search(claim, value)), at, claim),
    "minimum": lambda value, claim, _, at: _if(not isinstance(value, int) or value >= claim, at, f"below {claim}"),
    "maximum": lambda value, claim, _, at: _if(not isinstance(value, int) or value <= claim, at, f"above {claim}"),
    "required": lambda value, claim, _, at: [
        f"{at}.{name}: missing".lstrip(".") for name in claim if isinstance(value, dict) and name not in value
    ],
}
