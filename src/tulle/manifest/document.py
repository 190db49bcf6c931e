"""One document → the resources that it means, what is wrong with it, and what that hides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tulle.manifest.consistent import inconsistencies
from tulle.manifest.decode import Decoder, camel, snake
from tulle.manifest.desugar import desugar
from tulle.manifest.later import KINDS_ELSEWHERE, LATER_KINDS
from tulle.manifest.meshfile import MeshFile
from tulle.manifest.tree import Entry, Fields, Node, Scalar
from tulle.model.names import DEFAULT_NAMESPACE
from tulle.model.place import Problem, nearest
from tulle.model.resource import Resource
from tulle.model.resources import KINDS
from tulle.model.unread import NOTHING_UNREAD, Unread, union

_KINDS = {kind.__name__: kind for kind in KINDS}
_HEAD = frozenset({"apiVersion", "kind"})


@dataclass(frozen=True, slots=True)
class Document:
    """What one document came to. Without problems the resources are all that it says."""

    resources: Sequence[Resource] = ()
    problems: Sequence[Problem] = ()
    unread: Unread = NOTHING_UNREAD


def read_document(tree: Node) -> Document:
    """A resource, or a mesh file desugared."""
    if not isinstance(tree, Fields):
        hint = "a mesh file begins with `mesh: name`, a resource with `apiVersion` and `kind`"
        problem = Problem.at(tree.place, "wrong-type", "a document must be a mapping", hint)
        return Document(problems=[problem], unread=Unread(everything=True))
    for entry in tree.entries:
        if entry.key.text in {"kind", "apiVersion"}:
            return _resource(tree)
    return _mesh(tree)


def _mesh(tree: Fields) -> Document:
    decoder = Decoder(snake)
    mesh = decoder.read(tree, MeshFile, "the mesh file")
    problems = decoder.problems
    if mesh is None:  # what it is called is wrong or missing: whatever it is, the rest can be read
        decoder = Decoder(snake)
        mesh = decoder.read(_renamed(tree), MeshFile, "the mesh file")
    if mesh is None:
        return Document((), problems, Unread(everything=True))
    resources, faults = desugar(mesh)
    found = [*faults, *(problem for one in resources for problem in inconsistencies(one))]
    partial = {(place.file, place.line) for place in decoder.partial}
    problems = [*problems, *(one for one in found if (one.file, one.line) not in partial)]
    lost = {_name_of(entry) for entry in _declared(tree) if entry.key.text not in {*mesh.services, *mesh.external}}
    lost.update(one.qualified for one in resources if one.place in decoder.partial)
    nameless = decoder.nameless or any(not isinstance(one.node, Fields) for one in _sections(tree))
    return Document(resources, problems, Unread(lost, nameless))


def _sections(tree: Fields) -> Iterator[Entry]:
    return (one for one in tree.entries if one.key.text in {"services", "external"})


def _declared(tree: Fields) -> Iterator[Entry]:
    for section in _sections(tree):
        if isinstance(section.node, Fields):
            yield from section.node.entries


def _name_of(entry: Entry) -> str:
    if "/" in entry.key.text:
        return entry.key.text
    return f"{_text(entry.node, 'namespace') or DEFAULT_NAMESPACE}/{entry.key.text}"


def _renamed(tree: Fields) -> Fields:
    name = Entry(Scalar("mesh", True, tree.place), Scalar("mesh", True, tree.place))
    return Fields([*(one for one in tree.entries if one.key.text != "mesh"), name], tree.place)


def _resource(tree: Fields) -> Document:
    decoder = Decoder(camel)
    given = {entry.key.text: entry.node for entry in tree.entries}
    for field_name in ("apiVersion", "kind"):
        if not isinstance(given.get(field_name), Scalar):
            missing = Problem.at(tree.place, "missing-field", f"a resource needs `{field_name}`, a text")
            return Document((), [missing], _lost(given))
    kind = _kind(cast("Scalar", given["kind"]), cast("Scalar", given["apiVersion"]))
    if isinstance(kind, Problem):
        return Document((), [kind], _lost(given))
    resource = decoder.read(tree, kind, kind.__name__, ignore=_HEAD)
    problems = decoder.problems
    if resource is not None and not problems:
        problems = list(inconsistencies(resource))
        return Document((resource,), problems)
    return Document(
        (resource,) if resource else (), problems, union((_lost(given), Unread(everything=decoder.nameless)))
    )


def _lost(given: Mapping[str, Node]) -> Unread:
    """The name under which a resource was declared, whatever else is wrong."""
    metadata = given.get("metadata")
    name = _text(metadata, "name")
    return Unread({f"{_text(metadata, 'namespace') or DEFAULT_NAMESPACE}/{name}"}, not name)


def _kind(written: Scalar, version: Scalar) -> type[Resource] | Problem:
    kind = _KINDS.get(written.text)
    if kind is None:
        meant = KINDS_ELSEWHERE.get(written.text) or nearest(written.text, _KINDS)
        hint = meant or "known: " + ", ".join(_KINDS)
        code, message = "unknown-kind", f"no kind named `{written.text[:64]}`"
        if (later := LATER_KINDS.get(written.text)) is not None:
            code, message, hint = "unsupported-kind", f"kind `{written.text}` is not supported yet", later
        return Problem.at(written.place, code, message, hint)
    if version.text not in kind.versions:
        message = f"no `{written.text}` in apiVersion `{version.text[:64]}`"
        return Problem.at(version.place, "unknown-kind", message, f"write `{kind.versions[0]}`")
    return kind


def _text(node: Node | None, name: str) -> str:
    """The text of a field, whatever else is wrong."""
    for entry in node.entries if isinstance(node, Fields) else ():
        if entry.key.text == name and isinstance(entry.node, Scalar):
            return entry.node.text
    return ""
