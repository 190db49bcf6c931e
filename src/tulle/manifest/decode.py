"""Nodes → dataclasses, by the dataclasses' own types; every fault is noted and the rest still read."""

import enum
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from tulle.manifest.later import LATER
from tulle.manifest.tree import Fields, Items, Node, Scalar
from tulle.model.fields import Between, Check
from tulle.model.place import Place, Problem, Word, nearest

T = TypeVar("T")

MUST_SAY = frozenset({"Source", "Operation", "Rule", "AccessRule", "MeshRule"})
"""Types in which an empty list would quietly mean anyone or anything: refused."""

NOT_EMPTY = frozenset({"Source", "Operation"})
"""Types in which nothing at all would quietly mean anyone or anything: refused."""


def camel(name: str) -> str:
    """`target_port` → `targetPort`, as resources write it."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(one.capitalize() for one in rest)


def snake(name: str) -> str:
    """`from_` → `from`, as the mesh file writes it."""
    return name.rstrip("_")


@dataclass(frozen=True, slots=True)
class FieldType:
    """One field of a dataclass, as YAML sees it."""

    attribute: str
    hint: Any
    required: bool


@lru_cache(maxsize=256)
def field_types(kind: type) -> tuple[FieldType, ...]:
    """The fields that YAML may give; `place` is the reader's."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        FieldType(one.name, hints[one.name], one.default is MISSING and one.default_factory is MISSING)
        for one in fields(kind)
        if one.name != "place"
    )


class Bad(enum.Enum):
    """A value that could not be read; its problem is noted."""

    BAD = enum.auto()


BAD = Bad.BAD


class Decoder:
    """Reads nodes as types. After it, `problems` holds all that was wrong."""

    def __init__(self, naming: Callable[[str], str]) -> None:
        self.problems: list[Problem] = []
        self._naming = naming

    def fault(self, place: Place, code: str, message: str, hint: str = "") -> Bad:
        """Notes a problem."""
        self.problems.append(Problem.at(place, code, message, hint))
        return BAD

    def read(self, node: Node, kind: type[T], what: str, ignore: frozenset[str] = frozenset()) -> T | None:
        """`node` as a dataclass of type `kind`; None when anything in it is wrong. `ignore` names fields read already."""
        found = self._record(node, kind, what, node.place, ignore)
        return None if found is BAD else cast("T", found)

    def _value(self, node: Node, hint: Any, what: str, place: Place, must_say: bool) -> Any:
        if get_origin(hint) in {types.UnionType, Union}:
            return self._union(node, get_args(hint), what, place, must_say)
        base, claims = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
        origin = get_origin(base)
        if origin is tuple:
            return self._items(node, get_args(base)[0], what, must_say)
        if origin is Mapping:
            key_hint, value_hint = get_args(base)
            return self._mapping(node, key_hint, value_hint, what)
        if is_dataclass(base):
            return self._record(node, base, what, place)
        if not isinstance(node, Scalar) or node.is_null:
            return self._mistyped(node, hint, what)
        if base is str:
            return self._text(node, claims, what)
        if issubclass(base, enum.Enum):
            return self._choice(node, base, what)
        return self._number(node, base, claims, what)

    def _union(self, node: Node, arms: tuple[Any, ...], what: str, place: Place, must_say: bool) -> Any:
        arms = tuple(arm for arm in arms if arm is not types.NoneType)
        for arm in arms:
            if len(arms) == 1 or shape(arm) is type(node):
                return self._value(node, arm, what, place, must_say)
        return self._mistyped(node, arms[0], what)

    def _mistyped(self, node: Node, hint: Any, what: str) -> Bad:
        found = {Items: "a list", Fields: "a mapping"}.get(type(node)) or _shown(cast("Scalar", node))
        return self.fault(node.place, "wrong-type", f"`{what}` must be {expectation(hint)}, found {found}")

    def _text(self, node: Scalar, claims: tuple[Check, ...], what: str) -> Any:
        for claim in claims:
            if not claim.holds(node.text):
                return self.fault(node.place, "bad-value", f"`{what}` must be {claim.expects}, found {_shown(node)}")
        return Word.at(node.text, node.place)

    def _choice(self, node: Scalar, kind: type[enum.Enum], what: str) -> Any:
        known = [str(one.value) for one in kind]
        if node.text in known:
            return kind(node.text)
        message = f"`{what}` must be {expectation(kind)}, found {_shown(node)}"
        return self.fault(node.place, "bad-value", message, nearest(node.text, known))

    def _number(self, node: Scalar, kind: type, claims: tuple[Between, ...], what: str) -> Any:
        shaped = r"-?(0|[1-9][0-9]{0,15})" + ("" if kind is int else r"(\.[0-9]{1,9})?")
        if not node.plain or not re.fullmatch(shaped, node.text):
            hint = "write it without quotes" if not node.plain and re.fullmatch(shaped, node.text) else ""
            expected = expectation(Annotated[kind, *claims] if claims else kind)
            return self.fault(node.place, "wrong-type", f"`{what}` must be {expected}, found {_shown(node)}", hint)
        number = kind(node.text)
        for claim in claims:
            if not claim.low <= number <= claim.high:
                expected = expectation(Annotated[kind, *claims])
                return self.fault(node.place, "bad-value", f"`{what}` must be {expected}, found {_shown(node)}")
        return number

    def _items(self, node: Node, hint: Any, what: str, must_say: bool) -> Any:
        if not isinstance(node, Items):
            return self._mistyped(node, tuple[hint, ...], what)
        if not node.nodes and must_say:
            return self.fault(node.place, "empty-list", f"`{what}` is empty", "leave it out, or say what it holds")
        read = [self._value(one, hint, what, one.place, False) for one in node.nodes]
        return BAD if any(one is BAD for one in read) else tuple(read)

    def _mapping(self, node: Node, key_hint: Any, hint: Any, what: str) -> Any:
        if not isinstance(node, Fields):
            return self._mistyped(node, Mapping[key_hint, hint], what)
        read: dict[Any, Any] = {}
        for entry in node.entries:
            key = self._value(entry.key, key_hint, what, entry.key.place, False)
            read[key] = self._value(entry.node, hint, f"{what}.{entry.key.text[:64]}", entry.key.place, False)
        return BAD if BAD in read or any(one is BAD for one in read.values()) else read

    def _record(self, node: Node, kind: Any, what: str, place: Place, ignore: frozenset[str] = frozenset()) -> Any:
        if not isinstance(node, Fields):
            return self._mistyped(node, kind, what)
        known = {self._naming(one.attribute): one for one in field_types(kind)}
        given: dict[str, Any] = {}
        for entry in node.entries:
            if (name := entry.key.text) in ignore:
                continue
            if (one := known.get(name)) is None:
                given[name] = self._unknown(entry.key, kind, known.keys(), what)
                continue
            must_say = one.required or kind.__name__ in MUST_SAY
            given[one.attribute] = self._value(entry.node, one.hint, name, entry.key.place, must_say)
        for name, one in known.items():
            if one.required and one.attribute not in given:
                given[one.attribute] = self.fault(place, "missing-field", f"`{what}` needs `{name}`")
        if not given and kind.__name__ in NOT_EMPTY:
            return self.fault(place, "empty-list", f"`{what}` says nothing", "leave it out for anyone or anything")
        if any(one is BAD for one in given.values()):
            return BAD
        if any(one.name == "place" for one in fields(kind)):
            given["place"] = place
        return kind(**given)

    def _unknown(self, key: Scalar, kind: type, known: Any, what: str) -> Bad:
        later = LATER.get(kind.__name__, {})
        if key.text in later:
            message = f"`{key.text}` is not supported yet"
            return self.fault(key.place, "unsupported-field", message, later[key.text])
        hint = nearest(key.text, known) or "known here: " + ", ".join(f"`{one}`" for one in sorted(known))
        return self.fault(key.place, "unknown-field", f"`{what}` has no field {_shown(key)}", hint)


def shape(hint: Any) -> type[Node]:
    """The kind of node that a type is written as."""
    base = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(base) is tuple:
        return Items
    return Fields if get_origin(base) is Mapping or is_dataclass(base) else Scalar


def expectation(hint: Any) -> str:
    """What a type expects, to end the sentence `must be …`."""
    base, claims = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
    if shape(base) is Items:
        return "a list"
    if shape(base) is Fields:
        return "a mapping"
    if base is str:
        return claims[0].expects if claims else "text"
    if issubclass(base, enum.Enum):
        *most, last = [f"`{one.value}`" for one in base]
        return f"{', '.join(most)} or {last}" if most else last
    number = "a whole number" if base is int else "a number"
    return f"{number} from {claims[0].low} to {claims[0].high}" if claims else number


def _shown(node: Scalar) -> str:
    if node.is_null:
        return "nothing"
    text = node.text if len(node.text) <= 64 else node.text[:61] + "…"
    return f"`{text}`" if text.isprintable() else repr(text)
