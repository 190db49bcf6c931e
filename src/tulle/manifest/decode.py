"""Nodes → dataclasses, by the dataclasses' own types; every fault is noted and the rest still read.

What is wrong is left out of what is read. That serves to look for further problems, never to be compiled: whoever has
problems has no mesh.
"""

import enum
import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

from tulle.manifest.forms import Form, Way, expectation, form_of, record_type
from tulle.manifest.later import ELSEWHERE, LATER
from tulle.manifest.tree import Fields, Items, Node, Scalar
from tulle.model.place import Place, Problem, Word, nearest

T = TypeVar("T")

MUST_SAY = frozenset({"Source", "Operation", "Rule", "AccessRule", "MeshRule"})
"""Types in which an empty list would quietly mean anyone or anything: refused."""

NOT_EMPTY = frozenset({"Source", "Operation"})
"""Types in which nothing at all would quietly mean anyone or anything: refused."""

HINTS = {
    ("MeshFile", "mesh"): "begin with `mesh: name`",
    ("ParentRef", "kind"): "write `kind: Service`",
}
"""What to write for a field that is missing."""

SHORT = {"container": "write `{{image: {0}}}`", "attach": "write `{{uid: {0}}}` or `{{systemd: {0}.service}}`"}
"""What to write for a text where a mapping is wanted."""

_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,15})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,9})?")
_FLAGS = {"true": True, "false": False}
_EITHER, _RECORD, _LIST, _MAPPING = Way.EITHER, Way.RECORD, Way.LIST, Way.MAPPING
_TEXT, _FLAG, _CHOICE = Way.TEXT, Way.FLAG, Way.CHOICE
"""A member of an enum costs more than all else that a plain value needs: it is looked up once."""
_MEANT = {
    "yes": "write `true`",
    "on": "write `true`",
    "true": "write `true`",
    "no": "write `false`",
    "off": "write `false`",
    "false": "write `false`",
}


def camel(name: str) -> str:
    """`target_port` → `targetPort`, as resources write it."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(one.capitalize() for one in rest)


def snake(name: str) -> str:
    """`from_` → `from`, as the mesh file writes it."""
    return name.rstrip("_")


class Bad(enum.Enum):
    """A value that could not be read; its problem is noted."""

    BAD = enum.auto()


BAD = Bad.BAD


class Decoder:
    """Reads nodes as types. After it, `problems` holds all that was wrong."""

    def __init__(self, naming: Callable[[str], str]) -> None:
        self.problems: list[Problem] = []
        self.partial: set[Place] = set()
        """Where records begin that were read without what is wrong in them."""
        self.nameless = False
        """Something was lost that says what something is called."""
        self._naming = naming
        self._lost = 0

    def fault(self, place: Place, code: str, message: str, hint: str = "") -> Bad:
        """Notes a problem."""
        self.problems.append(Problem.at(place, code, message, hint))
        self._lost += 1
        return BAD

    def read(self, node: Node, kind: type[T], what: str, ignore: frozenset[str] = frozenset()) -> T | None:
        """`node` as a dataclass of type `kind`, without what is wrong in it; None when too much is.

        `ignore` names fields read already.
        """
        found = self._record(node, form_of(cast("Any", kind)), what, node.place, ignore)
        return None if found is BAD else cast("T", found)

    def _value(self, node: Node, form: Form, what: str, place: Place, must_say: bool) -> Any:
        way = form.way
        if way is _EITHER:
            form = self._arm(node, form)
            way = form.way
        if way is _RECORD:
            return self._record(node, form, what, place)
        if way is _LIST:
            return self._items(node, form, what, must_say)
        if way is _MAPPING:
            return self._mapping(node, form, what)
        if not isinstance(node, Scalar) or (node.plain and node.is_null):
            return self._mistyped(node, form, what)
        if way is _TEXT:
            return self._text(node, form, what)
        if way is _FLAG:
            return self._flag(node, form, what)
        return self._choice(node, form, what) if way is _CHOICE else self._number(node, form, what)

    def _arm(self, node: Node, form: Form) -> Form:
        """The arm that is written like this; of several the number for what looks like one."""
        ways = {Items: {Way.LIST}, Fields: {Way.MAPPING, Way.RECORD}}.get(type(node), set())
        for one in form.inner:
            if one.way in ways:
                return one
        texts = [one for one in form.inner if one.way not in {Way.LIST, Way.MAPPING, Way.RECORD}] or [form.inner[0]]
        numeric = isinstance(node, Scalar) and node.plain and _WHOLE.fullmatch(node.text) is not None
        return next((one for one in texts if (one.way is Way.NUMBER) == numeric), texts[0])

    def _mistyped(self, node: Node, form: Form, what: str) -> Bad:
        found = {Items: "a list", Fields: "a mapping"}.get(type(node)) or shown(cast("Scalar", node))
        hint = ""
        if isinstance(node, Scalar) and node.text:
            hint = f"write `[{node.text}]`" if form.way is Way.LIST else SHORT.get(what, "").format(node.text)
        return self.fault(
            node.place, "wrong-type", f"{said(what)} must be {expectation(form.hint)}, found {found}", hint
        )

    def _text(self, node: Scalar, form: Form, what: str) -> Any:
        for check in form.checks:
            if not check.holds(node.text):
                hint = check.hint(node.text) if check.hint else ""
                message = f"{said(what)} must be {check.expects}, found {shown(node)}"
                return self.fault(node.place, "bad-value", message, hint)
        return Word.at(node.text, node.place)

    def _flag(self, node: Scalar, form: Form, what: str) -> Any:
        if node.plain and node.text in _FLAGS:
            return _FLAGS[node.text]
        hint = "write it without quotes" if node.text in _FLAGS else _MEANT.get(node.text.lower(), "")
        message = f"{said(what)} must be {expectation(form.hint)}, found {shown(node)}"
        return self.fault(node.place, "wrong-type", message, hint)

    def _choice(self, node: Scalar, form: Form, what: str) -> Any:
        known = [str(one.value) for one in form.base]
        if node.text in known:
            return form.base(node.text)
        message = f"{said(what)} must be {expectation(form.hint)}, found {shown(node)}"
        return self.fault(node.place, "bad-value", message, nearest(node.text, known))

    def _number(self, node: Scalar, form: Form, what: str) -> Any:
        shaped = (_WHOLE if form.base is int else _DECIMAL).fullmatch(node.text)
        if not node.plain or not shaped:
            hint = "write it without quotes" if not node.plain and shaped else ""
            message = f"{said(what)} must be {expectation(form.hint)}, found {shown(node)}"
            return self.fault(node.place, "wrong-type", message, hint)
        number = form.base(node.text)
        if form.limits and not form.limits.low <= number <= form.limits.high:
            message = f"{said(what)} must be {expectation(form.hint)}, found {shown(node)}"
            return self.fault(node.place, "bad-value", message)
        return number

    def _items(self, node: Node, form: Form, what: str, must_say: bool) -> Any:
        if not isinstance(node, Items):
            return self._mistyped(node, form, what)
        if not node.nodes and must_say:
            return self.fault(node.place, "empty-list", f"{said(what)} is empty", "leave it out, or say what it holds")
        inner, before, value = form.inner[0], self._lost, self._value
        read = [value(one, inner, what, one.place, False) for one in node.nodes]
        is_whole = self._lost == before
        if form.is_set and len(read) > 1 and len(set(read)) < len(read):
            self._twice(node, read, what)
        return tuple(read if is_whole else [one for one in read if one is not BAD])

    def _twice(self, node: Items, read: list[Any], what: str) -> None:
        seen: set[Any] = {BAD}
        for one, value in zip(node.nodes, read, strict=True):
            if value in seen and value is not BAD:
                message = f"{said(what)} holds {shown(cast('Scalar', one))} twice"
                self.fault(one.place, "duplicate-value", message, "once is enough")
            seen.add(value)

    def _mapping(self, node: Node, form: Form, what: str) -> Any:
        if not isinstance(node, Fields):
            return self._mistyped(node, form, what)
        key_form, value_form = form.inner
        read: dict[Any, Any] = {}
        for entry in node.entries:
            key = self._value(entry.key, key_form, what, entry.key.place, False)
            value = self._value(entry.node, value_form, f"{what}.{entry.key.text[:64]}", entry.key.place, False)
            if key is BAD:
                self.nameless = True
            elif value is not BAD:
                read[key] = value
        return read

    def _record(self, node: Node, form: Form, what: str, place: Place, ignore: frozenset[str] = frozenset()) -> Any:
        if not isinstance(node, Fields):
            return self._mistyped(node, form, what)
        kind, before, is_whole = form.base, self._lost, True
        known = record_type(kind, self._naming)
        strict = kind.__name__ in MUST_SAY
        given: dict[str, Any] = {}
        for entry in node.entries:
            key = entry.key
            name = key.text
            if name in ignore:
                continue
            one = known.members.get(name)
            if one is None:
                self._unknown(key, kind, known.members.keys(), what)
                continue
            value = self._value(entry.node, one.form, name, key.place, strict or one.required)
            if value is not BAD:
                given[one.attribute] = value
                if one.place:
                    given[one.place] = key.place
            elif one.vital:
                is_whole = False
                self.nameless = self.nameless or not one.required
        for one in known.required:
            if one.attribute not in given and all(entry.key.text != one.name for entry in node.entries):
                is_whole = False
                hint = HINTS.get((kind.__name__, one.name), "")
                self.fault(place, "missing-field", f"{said(what)} needs `{one.name}`", hint)
        if not node.entries and kind.__name__ in NOT_EMPTY:
            return self.fault(place, "empty-list", f"{said(what)} says nothing", "leave it out for anyone or anything")
        if not is_whole:
            return BAD
        if self._lost != before:
            self.partial.add(place)
        if known.has_place:
            given["place"] = place
        return kind(**given)

    def _unknown(self, key: Scalar, kind: type, known: Any, what: str) -> None:
        later = LATER.get(kind.__name__, {})
        if key.text in later:
            self.fault(key.place, "unsupported-field", f"`{key.text}` is not supported yet", later[key.text])
            return
        meant = ELSEWHERE.get(kind.__name__, {}).get(key.text) or nearest(key.text, known)
        hint = meant or "known here: " + ", ".join(f"`{one}`" for one in sorted(known))
        self.fault(key.place, "unknown-field", f"{said(what)} has no field {shown(key)}", hint)


def said(what: str) -> str:
    """A field in a sentence; what is no field is said in words."""
    return what if " " in what else f"`{what}`"


def shown(node: Scalar) -> str:
    """A scalar in a sentence."""
    if node.is_null:
        return "nothing"
    text = node.text if len(node.text) <= 64 else node.text[:61] + "…"
    return f"`{text}`" if text.isprintable() else repr(text)
