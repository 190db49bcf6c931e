"""Resources → YAML that loads as the same resources."""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import yaml

from tulle.manifest.decode import camel
from tulle.model.place import is_place
from tulle.model.resource import Metadata, Resource
from tulle.model.resources import KINDS, ParentRef


def dump(resources: Iterable[Resource]) -> str:
    """One document each, by kind and name; fields that say nothing new are left out."""
    order = {kind: number for number, kind in enumerate(KINDS)}
    ordered = sorted(resources, key=lambda one: (order[type(one)], one.qualified))
    return "---\n".join(_text(one) for one in ordered)


def document(resource: Resource) -> dict[str, Any]:
    """One resource as plain values."""
    head = {"apiVersion": resource.versions[0], "kind": type(resource).__name__}
    return head | {"metadata": _plain(resource.metadata)} | _rest(resource)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(resource: Resource) -> str:
    text: str = yaml.dump(document(resource), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


def _rest(resource: Resource) -> dict[str, Any]:
    return {name: value for name, value in _plain(resource).items() if name != "metadata"}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        written = {}
        for one in fields(value):
            held = getattr(value, one.name)
            if not is_place(one.name) and (_always(value, one.name) or not _is_default(one, held)):
                written[camel(one.name)] = _plain(held)
        return written
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, enum.Enum):
        return value.value
    return str(value) if isinstance(value, str) else value


def _always(value: object, name: str) -> bool:
    """Fields whose default is not the ecosystem's, or that read better written."""
    return (
        name == "spec"
        or (name == "namespace" and isinstance(value, Metadata))
        or (name == "group" and isinstance(value, ParentRef))
    )


def _is_default(one: Any, held: object) -> bool:
    if one.default is not MISSING:
        return bool(held == one.default)
    return one.default_factory is not MISSING and bool(held == one.default_factory())
