"""YAML text → a tree of nodes that know their line. Bounded, and free of YAML 1.1's surprises.

Scalars stay text: the field they stand in decides whether `no`, `010` or `12:30` is a word or a mistake.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from tulle.model.place import Place, Problem

MAX_BYTES = 4 * 1024 * 1024
"""Of one file."""
MAX_DOCUMENTS = 10_000
"""In one file."""
MAX_DEPTH = 32
"""Of nesting; the deepest resource needs 12."""
MAX_NODES = 500_000
"""In one file, aliases written out."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN = (None, "")
"""Styles of a scalar without quotes, as the two loaders say it."""


class Scalar(msgspec.Struct, gc=False):
    """A text. A struct, as every node is: a large mesh has a million, and a dataclass costs three times as much."""

    text: str
    plain: bool
    """Written without quotes, so that it may also be a number, true, false or null."""
    place: Place

    @property
    def is_null(self) -> bool:
        """Nothing was written."""
        return self.plain and self.text in {"", "~", "null", "Null", "NULL"}


class Items(msgspec.Struct):
    """A sequence."""

    nodes: list["Node"]
    place: Place


class Entry(msgspec.Struct):
    """One key of a mapping, and what it holds."""

    key: Scalar
    node: "Node"


class Fields(msgspec.Struct):
    """A mapping; keys are unique texts."""

    entries: list[Entry]
    place: Place


Node = Scalar | Items | Fields


def read_trees(file: str, text: str, problems: list[Problem]) -> Iterator[Node]:
    """The documents of a file, one at a time, empty ones left out; what is wrong with it as YAML goes to `problems`."""
    composer = _Composer(file, problems)
    if len(text) > MAX_BYTES:
        composer.fault(1, "too-large", f"larger than {MAX_BYTES // 1024 // 1024} MiB")
        return
    try:
        text.encode()
        yield from composer.documents(text)
    except _Refused as refused:
        problems.append(refused.problem)
    except yaml.MarkedYAMLError as error:
        ends = "end of stream" in (error.problem or "")  # then what was begun is to blame, not the last line
        mark = (error.context_mark if ends else None) or error.problem_mark or error.context_mark
        line = min(mark.line, text.rstrip("\n").count("\n")) + 1 if mark else 1
        said = " ".join(part for part in (error.context, error.problem) if part)
        indent = text.split("\n")[line - 1] if mark else ""
        tabs = "\t" in indent[: len(indent) - len(indent.lstrip())] or "'\\t'" in said
        composer.fault(line, "bad-yaml", said, "indent with spaces; YAML allows no tab here" if tabs else "")
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0) or 0  # libyaml counts octets, PyYAML's own reader letters
        before = text.encode()[:position].decode(errors="ignore") if _Loader is not yaml.SafeLoader else text[:position]
        line = before.count("\n") + 1
        composer.fault(line, "bad-yaml", str(getattr(error, "reason", "") or error).partition("\n")[0])
    except UnicodeError:
        composer.fault(1, "bad-yaml", "not valid UTF-8")


class _Refused(Exception):
    """Nothing after this place makes sense."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Composer:
    def __init__(self, file: str, problems: list[Problem]) -> None:
        self._file = file
        self._problems = problems
        self._anchors: dict[str, tuple[Node, int]] = {}
        """What an anchor names, and how many values that is, aliases written out."""
        self._nodes = 0
        self._next: Callable[[], Any] = _no_event
        self._place = Place(file, 1)
        """Of the last node: most stand on the line of their neighbour."""

    def fault(self, line: int, code: str, message: str, hint: str = "") -> None:
        self._problems.append(Problem(code, message, self._file, line, hint))

    def documents(self, text: str) -> Iterator[Node]:
        parser = _Loader(text)
        self._next = parser.get_event
        count = 0
        try:
            while (event := self._next()) is not None:
                if not isinstance(event, DocumentStartEvent):
                    continue
                count += 1
                if count > MAX_DOCUMENTS:
                    raise self._refused(_line(event), "too-large", "too many documents")
                self._anchors.clear()
                node = self._compose(self._next(), 0)
                if not (isinstance(node, Scalar) and node.is_null):
                    yield node
        finally:
            parser.dispose()

    def _refused(self, line: int, code: str, message: str) -> _Refused:
        return _Refused(Problem(code, message, self._file, line))

    def _compose(self, event: Any, depth: int) -> Node:
        line: int = event.start_mark.line + 1
        place = self._place
        if place.line != line:
            place = self._place = Place(self._file, line)
        kind = type(event)
        if kind is ScalarEvent and event.tag is None and event.anchor is None:  # nearly all there are
            self._nodes += 1
            if self._nodes <= MAX_NODES:
                return Scalar(event.value, event.style in _PLAIN, place)
        if depth > MAX_DEPTH:
            raise self._refused(line, "too-large", f"nested deeper than {MAX_DEPTH}")
        before = self._nodes
        if kind is AliasEvent:
            return self._aliased(event.anchor, line)
        self._count(1, line)
        node: Node
        if kind is ScalarEvent:
            node = Scalar(event.value, event.tag is None and event.style in _PLAIN, place)
        elif kind is SequenceStartEvent:
            nodes: list[Node] = []
            following = self._next
            while type(inner := following()) is not SequenceEndEvent:
                nodes.append(self._compose(inner, depth + 1))
            node = Items(nodes, place)
        else:
            node = self._mapping(place, depth)
        if event.tag is not None:
            self._tag(event.tag, line)
        if event.anchor:
            self._anchors[event.anchor] = (node, self._nodes - before)
        return node

    def _tag(self, tag: str, line: int) -> None:
        if tag != "tag:yaml.org,2002:str":
            said = tag.replace("tag:yaml.org,2002:", "!!")
            self.fault(line, "bad-yaml", f"tag `{said}` is not allowed", "leave the tag out")

    def _aliased(self, anchor: str, line: int) -> Node:
        found = self._anchors.get(anchor)
        if found is None:
            raise self._refused(line, "bad-yaml", f"alias `*{anchor}` has no anchor before it")
        node, size = found
        self._count(size, line)
        return node

    def _count(self, more: int, line: int) -> None:
        self._nodes += more
        if self._nodes > MAX_NODES:
            raise self._refused(line, "too-large", f"more than {MAX_NODES} values, aliases written out")

    def _mapping(self, place: Place, depth: int) -> Fields:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        following, compose, depth = self._next, self._compose, depth + 1
        while type(event := following()) is not MappingEndEvent:
            key, node = compose(event, depth), compose(following(), depth)
            if type(key) is not Scalar or (key.plain and key.is_null):
                self.fault(key.place.line, "bad-yaml", "a key must be a word")
                continue
            name = key.text
            if name == "<<" and key.plain:
                self._merge(merged, node)
            elif name in own:
                first = own[name].key.place.line
                self.fault(key.place.line, "duplicate-key", f"`{name}` is written twice", f"first on line {first}")
            else:
                own[name] = Entry(key, node)
        return Fields(list(({**merged, **own} if merged else own).values()), place)

    def _merge(self, merged: dict[str, Entry], node: Node) -> None:
        for one in node.nodes if isinstance(node, Items) else (node,):
            if not isinstance(one, Fields):
                self.fault(one.place.line, "bad-yaml", "`<<` merges mappings only")
                continue
            for entry in one.entries:
                merged.setdefault(entry.key.text, entry)


def _line(event: Any) -> int:
    line: int = event.start_mark.line + 1
    return line


def _no_event() -> None:
    return None
