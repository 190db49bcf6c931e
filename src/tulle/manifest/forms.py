"""The types of fields, taken apart once: how each is written in YAML, and what it expects."""

import enum
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from tulle.model.fields import Between, Check, Text
from tulle.model.place import is_place

IDENTITY = frozenset({"name", "namespace", "service_account"})
"""Fields without which nobody knows what a resource is called: lost, they lose all of it."""


class Way(enum.Enum):
    """How a value is read."""

    TEXT = enum.auto()
    CHOICE = enum.auto()
    NUMBER = enum.auto()
    FLAG = enum.auto()
    LIST = enum.auto()
    MAPPING = enum.auto()
    RECORD = enum.auto()
    EITHER = enum.auto()


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A type, taken apart."""

    way: Way
    hint: Any
    """The type itself."""
    base: Any = None
    """The class to make: `int`, an enum, a dataclass."""
    checks: tuple[Check, ...] = ()
    limits: Between | None = None
    inner: "tuple[Form, ...]" = ()
    """Of a list its items, of a mapping its keys and values, of a union its arms."""
    is_set: bool = False
    """A list in which a value twice is a mistake."""


@dataclass(frozen=True, slots=True)
class FieldType:
    """One field of a dataclass, as YAML sees it."""

    attribute: str
    hint: Any
    required: bool

    @property
    def form(self) -> Form:
        """Its type, taken apart."""
        return form_of(self.hint)


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A field as the decoder meets it."""

    attribute: str
    name: str
    """As written in YAML."""
    form: Form
    required: bool
    """Also of what identifies: it may be left out, but not be wrong."""
    vital: bool
    place: str
    """The attribute that says where it was written; empty where nobody asks."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordType:
    """A dataclass under one way to write names."""

    members: Mapping[str, Member]
    required: tuple[Member, ...]
    has_place: bool
    """It says where the record begins."""


@lru_cache(maxsize=256)
def field_types(kind: type) -> tuple[FieldType, ...]:
    """The fields that YAML may give; places are the reader's."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        FieldType(one.name, hints[one.name], one.default is MISSING and one.default_factory is MISSING)
        for one in fields(kind)
        if not is_place(one.name)
    )


@lru_cache(maxsize=256)
def record_type(kind: type, naming: Callable[[str], str]) -> RecordType:
    """The fields of a dataclass by the names that YAML gives them."""
    places = {one.name for one in fields(kind) if is_place(one.name)}
    members = {naming(one.attribute): _member(one, naming(one.attribute), places) for one in field_types(kind)}
    required = tuple(one for one in members.values() if one.required)
    return RecordType(members, required, "place" in places)


def _member(one: FieldType, name: str, places: Collection[str]) -> Member:
    place = f"{one.attribute}_place"
    vital = one.required or one.attribute in IDENTITY
    return Member(one.attribute, name, one.form, one.required, vital, place if place in places else "")


@lru_cache(maxsize=512)
def form_of(hint: Any) -> Form:
    """Takes a type apart."""
    origin = get_origin(hint)
    if origin in {types.UnionType, Union}:
        arms = [form_of(one) for one in get_args(hint) if one is not types.NoneType]
        return arms[0] if len(arms) == 1 else Form(Way.EITHER, hint, inner=tuple(arms))
    base, claims = (get_args(hint)[0], get_args(hint)[1:]) if origin is Annotated else (hint, ())
    origin = get_origin(base)
    if origin is tuple:
        item = get_args(base)[0]
        inner = form_of(item)
        is_set = item != Text and inner.way in {Way.TEXT, Way.CHOICE, Way.NUMBER}
        return Form(Way.LIST, hint, inner=(inner,), is_set=is_set)
    if origin is Mapping:
        key, value = get_args(base)
        return Form(Way.MAPPING, hint, inner=(form_of(key), form_of(value)))
    if is_dataclass(base):
        return Form(Way.RECORD, hint, base)
    if base is str:
        return Form(Way.TEXT, hint, base, checks=claims)
    if base is bool:
        return Form(Way.FLAG, hint, base)
    if issubclass(base, enum.Enum):
        return Form(Way.CHOICE, hint, base)
    return Form(Way.NUMBER, hint, base, limits=claims[0] if claims else None)


def expectation(hint: Any) -> str:
    """What a type expects, to end the sentence `must be …`."""
    form = form_of(hint)
    match form.way:
        case Way.LIST:
            return "a list"
        case Way.MAPPING | Way.RECORD:
            return "a mapping"
        case Way.EITHER:
            return ", or ".join(dict.fromkeys(expectation(one.hint) for one in form.inner))
        case Way.TEXT:
            return form.checks[0].expects if form.checks else "text"
        case Way.FLAG:
            return "`true` or `false`"
        case Way.CHOICE:
            *most, last = [f"`{one.value}`" for one in form.base]
            return f"{', '.join(most)} or {last}" if most else last
        case Way.NUMBER:
            number = "a whole number" if form.base is int else "a number"
            return f"{number} from {form.limits.low} to {form.limits.high}" if form.limits else number
