"""Files → resources, or every problem in them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tulle.manifest.consistent import inconsistencies
from tulle.manifest.decode import Decoder, camel, snake
from tulle.manifest.desugar import desugar
from tulle.manifest.later import LATER_KINDS
from tulle.manifest.meshfile import MeshFile
from tulle.manifest.tree import MAX_BYTES, Fields, Node, Scalar, read_trees
from tulle.model.place import Problem, in_order, nearest
from tulle.model.resources import KINDS, Resource


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the manifests say."""

    resources: tuple[Resource, ...]
    """In the order of files and lines; the mesh file already desugared."""
    sources: Mapping[str, str]
    """File name → its text, as read."""


def load(paths: Sequence[Path]) -> Loaded | list[Problem]:
    """Reads files, and of directories every `*.yaml` and `*.yml` directly in them."""
    files: dict[str, str] = {}
    problems: list[Problem] = []
    for path in dict.fromkeys(_files(paths, problems)):
        try:
            with path.open("rb") as stream:
                files[str(path)] = stream.read(MAX_BYTES + 1).decode()
        except OSError as error:
            problems.append(Problem("unreadable", f"cannot read it: {error.strerror}", str(path)))
        except UnicodeDecodeError as error:
            problems.append(Problem("bad-yaml", f"not UTF-8 at octet {error.start}", str(path)))
    read = parse(files)
    if isinstance(read, list):
        return in_order([*problems, *read])
    return in_order(problems) if problems else read


def parse(files: Mapping[str, str]) -> Loaded | list[Problem]:
    """File name → text; what it says, or all that is wrong with it."""
    resources: list[Resource] = []
    problems: list[Problem] = []
    for file in sorted(files):
        trees, faults = read_trees(file, files[file])
        problems.extend(faults)
        for tree in trees:
            found, faults = _document(tree)
            resources.extend(found)
            problems.extend(faults)
    problems.extend(problem for one in resources for problem in inconsistencies(one))
    return in_order(problems) if problems else Loaded(tuple(resources), dict(files))


def _files(paths: Sequence[Path], problems: list[Problem]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(one for one in path.iterdir() if one.suffix in {".yaml", ".yml"} and one.is_file())
        if not inside:
            problems.append(Problem("unreadable", "no *.yaml in this directory", str(path)))
        yield from inside


def _document(tree: Node) -> tuple[Sequence[Resource], list[Problem]]:
    if not isinstance(tree, Fields):
        hint = "a mesh file begins with `mesh: name`, a resource with `apiVersion` and `kind`"
        return (), [Problem.at(tree.place, "wrong-type", "a document must be a mapping", hint)]
    given = {entry.key.text: entry.node for entry in tree.entries}
    if "kind" in given or "apiVersion" in given:
        return _resource(tree, given)
    decoder = Decoder(snake)
    mesh = decoder.read(tree, MeshFile, "the mesh file")
    if mesh is None:
        return (), decoder.problems
    return desugar(mesh)


def _resource(tree: Fields, given: Mapping[str, Node]) -> tuple[Sequence[Resource], list[Problem]]:
    decoder = Decoder(camel)
    kinds = {kind.__name__: kind for kind in KINDS}
    for name in ("apiVersion", "kind"):
        if not isinstance(given.get(name), Scalar):
            return (), [Problem.at(tree.place, "missing-field", f"a resource needs `{name}`, a text")]
    written, version = cast("Scalar", given["kind"]), cast("Scalar", given["apiVersion"])
    kind = kinds.get(written.text)
    if kind is None:
        known = nearest(written.text, kinds) or "known: " + ", ".join(kinds)
        later = LATER_KINDS.get(written.text)
        code, message, hint = ("unknown-kind", f"no kind named `{written.text[:64]}`", known)
        if later is not None:
            code, message, hint = ("unsupported-kind", f"kind `{written.text}` is not supported yet", later)
        return (), [Problem.at(written.place, code, message, hint)]
    if version.text not in kind.versions:
        hint = f"write `{kind.versions[0]}`"
        message = f"no `{written.text}` in apiVersion `{version.text[:64]}`"
        return (), [Problem.at(version.place, "unknown-kind", message, hint)]
    resource = decoder.read(tree, kind, written.text, ignore=frozenset({"apiVersion", "kind"}))
    return ((resource,) if resource else ()), decoder.problems
