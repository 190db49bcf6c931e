"""YAML text → a tree of nodes that know their line. Bounded, and free of YAML 1.1's surprises.

Scalars stay text: the field they stand in decides whether `no`, `010` or `12:30` is a word or a mistake.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from tulle.model.place import Place, Problem

MAX_BYTES = 4 * 1024 * 1024
"""Of one file."""
MAX_DOCUMENTS = 10_000
"""In one file."""
MAX_DEPTH = 32
"""Of nesting; the deepest resource needs 12."""
MAX_NODES = 500_000
"""In one file, aliases written out."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text."""

    text: str
    plain: bool
    """Written without quotes, so that it may also be a number, true, false or null."""
    place: Place
    size: int = 1

    @property
    def is_null(self) -> bool:
        """Nothing was written."""
        return self.plain and self.text in {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    nodes: tuple["Node", ...]
    place: Place
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping, and what it holds."""

    key: Scalar
    node: "Node"


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping; keys are unique texts."""

    entries: tuple[Entry, ...]
    place: Place
    size: int


Node = Scalar | Items | Fields


def read_trees(file: str, text: str) -> tuple[list[Node], list[Problem]]:
    """The documents of a file, empty ones left out, and what is wrong with it as YAML."""
    composer = _Composer(file)
    if len(text) > MAX_BYTES:
        return [], [composer.refuse(1, "too-large", f"larger than {MAX_BYTES // 1024 // 1024} MiB")]
    try:
        text.encode()
        return list(composer.documents(text)), composer.problems
    except _Refused as refused:
        return [], [*composer.problems, refused.problem]
    except yaml.MarkedYAMLError as error:
        ends = "end of stream" in (error.problem or "")  # then what was begun is to blame, not the last line
        mark = (error.context_mark if ends else None) or error.problem_mark or error.context_mark
        line = min(mark.line, text.rstrip("\n").count("\n")) + 1 if mark else 1
        said = " ".join(part for part in (error.context, error.problem) if part)
        hint = "indent with spaces; YAML allows no tab here" if "'\\t'" in said else ""
        return [], [*composer.problems, composer.refuse(line, "bad-yaml", said, hint)]
    except yaml.YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
        said = str(getattr(error, "reason", "") or error).partition("\n")[0]
        return [], [*composer.problems, composer.refuse(line, "bad-yaml", said)]
    except UnicodeError:
        return [], [*composer.problems, composer.refuse(1, "bad-yaml", "not valid UTF-8")]


class _Refused(Exception):
    """Nothing after this place makes sense."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Composer:
    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        self._events: Iterator[yaml.Event] = iter(())

    def refuse(self, line: int, code: str, message: str, hint: str = "") -> Problem:
        return Problem(code, message, self.file, line, hint)

    def documents(self, text: str) -> Iterator[Node]:
        self._events = iter(yaml.parse(text, Loader=_Loader))
        count = 0
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            count += 1
            if count > MAX_DOCUMENTS:
                raise _Refused(self.refuse(_line(event), "too-large", "too many documents"))
            self._anchors.clear()
            node = self._compose(next(self._events), 0)
            if not (isinstance(node, Scalar) and node.is_null):
                yield node

    def _compose(self, event: yaml.Event, depth: int) -> Node:
        line = _line(event)
        place = Place(self.file, line)
        if depth > MAX_DEPTH:
            raise _Refused(self.refuse(line, "too-large", f"nested deeper than {MAX_DEPTH}"))
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event, line)
        tag = getattr(event, "tag", None)
        if tag not in {None, "tag:yaml.org,2002:str"}:
            said = str(tag).replace("tag:yaml.org,2002:", "!!")
            self.problems.append(self.refuse(line, "bad-yaml", f"tag `{said}` is not allowed", "leave the tag out"))
        self._count(1, line)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(event.value, event.style in {None, ""} and tag is None, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            nodes: list[Node] = []
            while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
                nodes.append(self._compose(inner, depth + 1))
            node = Items(tuple(nodes), place, 1 + sum(one.size for one in nodes))
        else:
            node = self._mapping(place, depth)
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = node
        return node

    def _aliased(self, event: yaml.AliasEvent, line: int) -> Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise _Refused(self.refuse(line, "bad-yaml", f"alias `*{event.anchor}` has no anchor before it"))
        self._count(node.size, line)
        return node

    def _count(self, more: int, line: int) -> None:
        self._nodes += more
        if self._nodes > MAX_NODES:
            raise _Refused(self.refuse(line, "too-large", f"more than {MAX_NODES} values, aliases written out"))

    def _mapping(self, place: Place, depth: int) -> Fields:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._compose(event, depth + 1)
            node = self._compose(next(self._events), depth + 1)
            if not isinstance(key, Scalar) or key.is_null:
                self._fault(key.place, "bad-yaml", "a key must be a word")
            elif key.plain and key.text == "<<":
                self._merge(merged, node)
            elif key.text in own:
                first = own[key.text].key.place.line
                self._fault(key.place, "duplicate-key", f"`{key.text}` is written twice", f"first on line {first}")
            else:
                own[key.text] = Entry(key, node)
        entries = tuple({**merged, **own}.values())
        return Fields(entries, place, 1 + sum(1 + one.node.size for one in entries))

    def _merge(self, merged: dict[str, Entry], node: Node) -> None:
        for one in node.nodes if isinstance(node, Items) else (node,):
            if not isinstance(one, Fields):
                self._fault(one.place, "bad-yaml", "`<<` merges mappings only")
                continue
            self._count(one.size, one.place.line)
            for entry in one.entries:
                merged.setdefault(entry.key.text, entry)

    def _fault(self, place: Place, code: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem.at(place, code, message, hint))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
