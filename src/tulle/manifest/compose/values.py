"""Small readings that many fields share: words, numbers, durations, sizes, lists or mappings of pairs."""

import re
import shlex
from collections.abc import Iterator

from tulle.manifest.compose.ledger import Ledger, inside
from tulle.manifest.tree import Fields, Items, Node, Scalar

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|µs|ms|s|m|h|ns)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?(?:([kmgt]?)(?:i?b)?)", re.IGNORECASE)
_SCALE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_YES = frozenset({"true", "yes", "on", "y"})
_NO = frozenset({"false", "no", "off", "n"})


def word(ledger: Ledger, where: str, node: Node) -> str | None:
    """A text; None for nothing, and for what is no text, which is a problem."""
    if isinstance(node, Scalar):
        return None if node.is_null else node.text
    ledger.fault(node, "wrong-type", f"`{where}` must be text")
    return None


def words(ledger: Ledger, where: str, node: Node) -> list[tuple[str, Scalar]]:
    """The texts of a list; one text is a list of itself."""
    if isinstance(node, Scalar):
        return [] if node.is_null else [(where, node)]
    if isinstance(node, Fields):
        ledger.fault(node, "wrong-type", f"`{where}` must be a list")
        return []
    found: list[tuple[str, Scalar]] = []
    for path, one in inside(where, node):
        if isinstance(one, Scalar) and not one.is_null:
            found.append((path, one))
        else:
            ledger.fault(one, "wrong-type", f"`{path}` must be text")
    return found


def members(ledger: Ledger, where: str, node: Node) -> Iterator[tuple[str, Node]]:
    """What a list holds, whatever it is; nothing for null."""
    if isinstance(node, Items):
        yield from inside(where, node)
    elif not (isinstance(node, Scalar) and node.is_null):
        ledger.fault(node, "wrong-type", f"`{where}` must be a list")


def mapping(ledger: Ledger, where: str, node: Node) -> dict[str, Node]:
    """What a mapping holds, by key; nothing for null."""
    if isinstance(node, Fields):
        return {entry.key.text: entry.node for entry in node.entries}
    if not (isinstance(node, Scalar) and node.is_null):
        ledger.fault(node, "wrong-type", f"`{where}` must be a mapping")
    return {}


def pairs(ledger: Ledger, where: str, node: Node) -> Iterator[tuple[str, str, str | None, Node]]:
    """Path, name, value or None, and node of `NAME=value` in a list or `NAME: value` in a mapping."""
    if isinstance(node, Fields):
        for entry in node.entries:
            path = f"{where}.{entry.key.text}"
            if isinstance(entry.node, Scalar):
                yield path, entry.key.text, None if entry.node.is_null else entry.node.text, entry.node
            else:
                ledger.fault(entry.node, "wrong-type", f"`{path}` must be text or a number")
        return
    for path, one in words(ledger, where, node):
        name, equals, value = one.text.partition("=")
        yield path, name, value if equals else None, one


def truth(ledger: Ledger, where: str, node: Node) -> bool:
    """True or false; anything else is a problem."""
    text = (word(ledger, where, node) or "false").lower()
    if text not in _YES | _NO:
        ledger.fault(node, "wrong-type", f"`{where}` must be true or false")
    return text in _YES


def seconds(ledger: Ledger, where: str, node: Node) -> float | None:
    """A duration such as `1m30s`; a bare number counts seconds."""
    text = word(ledger, where, node)
    if text is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(map("".join, parts)) != text or len(text) > 64:
        ledger.fault(node, "bad-value", f"`{where}` must be a duration such as `1m30s`")
        return None
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def octets(ledger: Ledger, where: str, node: Node) -> int | None:
    """A size such as `512m`."""
    text = word(ledger, where, node)
    found = _SIZE.fullmatch(text or "")
    if text is None:
        return None
    if found is None:
        ledger.fault(node, "bad-value", f"`{where}` must be a size such as `512m`")
        return None
    return int(float(found[1]) * _SCALE[found[2].lower()])


def number(ledger: Ledger, where: str, node: Node) -> float | None:
    """A number that is not negative."""
    text = word(ledger, where, node)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        ledger.fault(node, "bad-value", f"`{where}` must be a number")
        return None
    return float(text)


def argv(ledger: Ledger, where: str, node: Node) -> list[str] | None:
    """Words of a command: a list, or one text split as a shell would; None for null."""
    if isinstance(node, Scalar):
        if node.is_null:
            return None
        try:
            return shlex.split(node.text)
        except ValueError as error:
            ledger.fault(node, "bad-value", f"`{where}` cannot be split into words: {str(error).lower()}")
            return None
    if isinstance(node, Items) and any(isinstance(one, Scalar) and one.is_null for one in node.nodes):
        ledger.fault(node, "wrong-type", f"`{where}` must hold texts")
        return None
    return [one.text for _, one in words(ledger, where, node)]


def brief(value: float) -> int | float:
    """3.0 as 3, and no more digits than a mesh file takes."""
    return int(value) if value == int(value) else round(value, 6)
