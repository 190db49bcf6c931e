"""What differs between two revisions, named as an operator names it. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tulle.wire.plan import Plan, encode
from tulle.wire.snapshot import Snapshot
from tulle.wire.status import Change

_SECTIONS = {
    "service": ("services", "name"),
    "policy": ("policies", "name"),
    "backend": ("backends", "name"),
    "caller": ("callers", "pod"),
    "door": ("doors", "port"),
}
"""Lists of the snapshot by the field that names their members."""


def changes(old: tuple[Snapshot, Plan] | None, new: tuple[Snapshot, Plan]) -> tuple[Change, ...]:
    """All that differs, by kind and name. The generation alone is no change; the order of a list is not one either."""
    before, after = _sections(old), _sections(new)
    found: list[Change] = []
    for what in after:
        then, now = before.get(what, {}), after[what]
        for name in sorted(then.keys() | now.keys()):
            if name not in then:
                found.append(Change(what=what, name=name, how="added"))
            elif name not in now:
                found.append(Change(what=what, name=name, how="removed"))
            elif details := tuple(_differences("", then[name], now[name])):
                found.append(Change(what=what, name=name, how="changed", details=details))
    return tuple(found)


def _sections(of: tuple[Snapshot, Plan] | None) -> dict[str, dict[str, Any]]:
    if of is None:
        return {}
    snapshot, plan = of
    document = msgspec.to_builtins(snapshot)
    sections = {
        what: {str(one[key]): one for one in document.pop(field, ())} for what, (field, key) in _SECTIONS.items()
    }
    sections["pod"] = {one["name"]: one for one in json.loads(encode(plan))["pods"]}
    document.pop("generation")
    sections["mesh"] = {snapshot.mesh: document}
    return sections


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(f"{path}.{key}" if path else str(key), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (was, will) in enumerate(zip(old, new, strict=True)):
            yield from _differences(f"{path}[{number}]", was, will)
    else:
        yield f"{path}: {_brief(old)} → {_brief(new)}"


def _brief(value: Any) -> str:
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)
