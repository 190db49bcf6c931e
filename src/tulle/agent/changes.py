"""What differs between two revisions, named as an operator names it. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from tulle.wire.plan import Plan, PodSpec, plain
from tulle.wire.sinks import Sinks
from tulle.wire.snapshot import Snapshot
from tulle.wire.status import Change, Difference

_SECTIONS = {
    "service": ("services", "name"),
    "policy": ("policies", "name"),
    "backend": ("backends", "name"),
    "caller": ("callers", "pod"),
    "door": ("doors", "port"),
}
"""Lists of the snapshot by the field that names their members."""

_KEYS = ("name", "backend", "workload", "port")
"""What tells the members of an inner list apart, the first that all of them have."""


def changes(old: tuple[Snapshot, Plan] | None, new: tuple[Snapshot, Plan]) -> tuple[Change, ...]:
    """All that differs, by kind and name. The generation alone is no change; the order of a list is not one either."""
    before, after = _sections(old), _sections(new)
    found: list[Change] = []
    for what in after:
        then, now = before.get(what, {}), after[what]
        for name in sorted(then.keys() | now.keys()):
            if name not in then:
                found.append(Change(what=what, name=name, how=Difference.ADDED))
            elif name not in now:
                found.append(Change(what=what, name=name, how=Difference.REMOVED))
            elif then[name] != now[name] and (details := tuple(_details(then[name], now[name]))):
                found.append(Change(what=what, name=name, how=Difference.CHANGED, details=details))
    return tuple(found)


def sink_changes(old: Sinks, new: Sinks) -> tuple[Change, ...]:
    """What of the telemetry differs."""
    details = tuple(_details(old, new))
    return (Change(what="telemetry", name="prometheus", how=Difference.CHANGED, details=details),) if details else ()


def _sections(of: tuple[Snapshot, Plan] | None) -> dict[str, dict[str, Any]]:
    """Members by their names, as the documents hold them: of many, few differ, and only those are spelled out."""
    if of is None:
        return {}
    snapshot, plan = of
    sections = {what: _named(getattr(snapshot, field), key) for what, (field, key) in _SECTIONS.items()}
    sections["pod"] = _named(plan.pods, "name")
    listed = {field: () for field, _ in _SECTIONS.values()}
    sections["mesh"] = {snapshot.mesh: msgspec.structs.replace(snapshot, generation=0, **listed)}
    return sections


def _named(members: Iterable[Any], key: str) -> dict[str, Any]:
    return {str(getattr(one, key)): one for one in members}


def _details(old: Any, new: Any) -> Iterator[str]:
    return _differences("", _spelled(old), _spelled(new))


def _spelled(value: Any) -> Any:
    """Plain mappings and lists, defaults included: a weight that is not written is 1, not unset."""
    if isinstance(value, msgspec.Struct):
        return {name: _spelled(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, PodSpec):
        return plain(value)
    if isinstance(value, tuple | list):
        return [_spelled(one) for one in value]
    return msgspec.to_builtins(value)


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(f"{path}.{key}" if path else str(key), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and (key := _key(old + new)):
        was, will = ({str(one[key]): one for one in members} for members in (old, new))
        for name in was | will:
            yield from _differences(f"{path}[{name}]", was.get(name), will.get(name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (then, now) in enumerate(zip(old, new, strict=True)):
            yield from _differences(f"{path}[{number}]", then, now)
    else:
        yield f"{path}: {_brief(old)} → {_brief(new)}"


def _key(members: list[Any]) -> str | None:
    """The field by which these are told apart; None where there is none."""
    if not all(isinstance(one, Mapping) for one in members):
        return None
    return next((key for key in _KEYS if all(key in one for one in members)), None)


def _brief(value: Any) -> str:
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)
