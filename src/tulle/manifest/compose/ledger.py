"""What became of each value of a compose file. A value that nobody settled is said to be lost: none is dropped silently."""

import enum
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tulle.manifest.tree import Entry, Fields, Items, Node, Scalar
from tulle.model.place import NOWHERE, Place, Problem

MAX_SHOWN = 160
"""Letters of a value that a note shows; what is longer is said part by part."""


class Fate(enum.StrEnum):
    """What a note says of a value."""

    LOST = "not carried"
    """The mesh file does without it."""
    CHANGED = "changed"
    """The mesh file says something near it."""
    PROPOSED = "proposed"
    """The compose file does not say it, but hints at it."""
    DECIDE = "decide"
    """Somebody must decide."""
    SECRET = "secret"
    """It looks like one, and now stands in the mesh file."""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that whoever imports must know."""

    fate: Fate
    what: str
    """Where it stands and what it said: `services.web.privileged: true`."""
    why: str
    instead: str = ""
    """What to do; empty when nothing need be done."""
    place: Place = NOWHERE

    def __str__(self) -> str:
        lines = [f"{self.fate}: {self.what}"]
        if self.place.file:
            lines.append(f"  --> {self.place}")
        lines.append(f"why: {self.why}")
        if self.instead:
            lines.append(f"hint: {self.instead}")
        return "\n".join(map(clean, lines))


class Ledger:
    """Notes and problems, and which values are accounted for."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.problems: list[Problem] = []
        self._settled: set[int] = set()
        """Identities of leaves; the tree outlives the ledger."""

    def settle(self, node: Node) -> None:
        """It stands in the mesh file, or a note names it."""
        self._settled.update(map(id, leaves(node)))

    def is_settled(self, node: Node) -> bool:
        """True when all of it is."""
        return all(id(one) in self._settled for one in leaves(node))

    def lose(self, where: str, node: Node, why: str, instead: str = "") -> None:
        """It is not carried over; of what is settled in part, the rest."""
        for path, part in self._open(where, node):
            self.note(Fate.LOST, path, part, why, instead)

    def change(self, where: str, node: Node, why: str, instead: str = "") -> None:
        """It is carried over as something near it."""
        self.note(Fate.CHANGED, where, node, why, instead)

    def note(self, fate: Fate, where: str, node: Node, why: str, instead: str = "") -> None:
        """Says something of a value, which settles it."""
        self.settle(node)
        self.tell(fate, f"{where}: {shown(node, where)}", node.place, why, instead)

    def tell(self, fate: Fate, what: str, place: Place, why: str, instead: str = "") -> None:
        """Says something that no value says."""
        self.notes.append(Note(fate, what, why, instead, place))

    def fault(self, node: Node, code: str, message: str, hint: str = "") -> None:
        """The compose file is wrong there."""
        self.settle(node)
        self.problems.append(Problem.at(node.place, code, message, hint))

    def _open(self, where: str, node: Node) -> Iterator[tuple[str, Node]]:
        """The largest parts that are not settled at all and can be shown whole."""
        parts = list(inside(where, node))
        untouched = not any(id(one) in self._settled for one in leaves(node))
        if untouched and (not parts or len(written(node)) <= MAX_SHOWN):
            yield where, node
            return
        for path, part in parts:
            yield from self._open(path, part)


def leaves(node: Node) -> Iterator[Node]:
    """Scalars, and lists and mappings that hold nothing."""
    below = [node]
    while below:
        one = below.pop()
        held = [entry.node for entry in one.entries] if isinstance(one, Fields) else []
        held = one.nodes if isinstance(one, Items) else held
        if held:
            below.extend(held)
        else:
            yield one


def inside(where: str, node: Node) -> Iterator[tuple[str, Node]]:
    """What a list or mapping holds, each with its path."""
    if isinstance(node, Fields):
        for entry in node.entries:
            yield f"{where}.{entry.key.text}".lstrip("."), entry.node
    elif isinstance(node, Items):
        for number, one in enumerate(node.nodes):
            yield f"{where}[{number}]", one


def shown(node: Node, where: str = "") -> str:
    """A value in a note; what looks like a secret is named and not said."""
    if is_secret(where.rpartition(".")[2], node.text if isinstance(node, Scalar) else ""):
        return "…"
    text = written(node)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def written(node: Node) -> str:
    """A value on one line, as YAML writes it within brackets."""
    if isinstance(node, Items):
        return f"[{', '.join(map(written, node.nodes))}]"
    if isinstance(node, Fields):
        return "{" + ", ".join(map(_entry, node.entries)) + "}"
    if node.is_null:
        return "null"
    name, equals, _ = node.text.partition("=")
    if equals and is_secret(name, ""):
        return f"{name}=…"
    return node.text if re.fullmatch(r"[^\s\[\]{},#\"'][^\[\]{},#\"'\n]*", node.text) else _quoted(node.text)


def _entry(entry: Entry) -> str:
    value = "…" if is_secret(entry.key.text, "") and isinstance(entry.node, Scalar) else written(entry.node)
    return f"{entry.key.text}: {value}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_SECRET = re.compile(r"(?:^|_)(?:PASS(?:WORD|WD|PHRASE)?|SECRET|TOKEN|CREDENTIALS?|API_?KEY|(?:PRIVATE|ACCESS|SECRET|ENCRYPTION|SIGNING)_KEY)(?:_|$)")  # fmt: skip
_SWITCHES = frozenset({"true", "false", "yes", "no", "0", "1"})
_USERINFO = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def is_secret(name: str, value: str) -> bool:
    """Looks like one: by its name, unless that names a file or the value is a switch; or a URL with a password."""
    name = name.upper()
    by_name = _SECRET.search(name) is not None and not name.endswith(("_FILE", "_PATH")) and value not in _SWITCHES
    return by_name or _USERINFO.search(value) is not None


def clean(text: str) -> str:
    """What came from a file cannot move the reader's cursor."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
