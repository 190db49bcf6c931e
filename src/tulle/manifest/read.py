"""Files → resources, or every problem in them."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tulle.kit.collector import no_collection
from tulle.manifest.document import read_document
from tulle.manifest.tree import MAX_BYTES, read_trees
from tulle.model.place import Problem, in_order
from tulle.model.resource import Resource
from tulle.model.unread import Unread, union

SUFFIXES = (".yaml", ".yml")
"""What counts as a manifest in a directory."""

Beyond = Callable[[Sequence[Resource], Unread], Iterable[Problem]]
"""What is surely wrong between resources, although some could not be read: `tulle.compiler.sure_faults`."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the manifests say."""

    resources: tuple[Resource, ...]
    """In the order of files and lines; the mesh file already desugared."""
    sources: Mapping[str, str]
    """File name → its text, as read."""


def load(paths: Sequence[Path], beyond: Beyond | None = None) -> Loaded | list[Problem]:
    """Reads files, and of directories every `*.yaml` and `*.yml` directly in them."""
    files, problems = texts(paths)
    return _read(files, problems, beyond)


def texts(paths: Sequence[Path]) -> tuple[dict[str, str], list[Problem]]:
    """The same unparsed: file name → text, and what cannot be read."""
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
    return files, problems


def parse(files: Mapping[str, str], beyond: Beyond | None = None) -> Loaded | list[Problem]:
    """File name → text; what it says, or all that is wrong with it.

    With `beyond`, what is wrong between the resources is said beside what is wrong within them. Without problems
    `beyond` is not asked: the compiler will be.
    """
    return _read(files, [], beyond)


def home_of(paths: Sequence[Path]) -> Path:
    """Where relative paths in manifests start: the directory of the first."""
    first = paths[0].absolute()
    return first if is_directory(first) else first.parent


def is_directory(path: Path) -> bool:
    """Whether a directory can be seen there; one behind a closed one cannot, which `Path.is_dir` takes for an error."""
    return os.path.isdir(path)  # noqa: PTH112


@no_collection()
def _read(files: Mapping[str, str], problems: list[Problem], beyond: Beyond | None) -> Loaded | list[Problem]:
    resources: list[Resource] = []
    is_empty = True
    unread = [Unread(everything=bool(problems))]
    for file in sorted(files):
        faults: list[Problem] = []
        for tree in read_trees(file, files[file], faults):
            is_empty = False
            document = read_document(tree)
            resources.extend(document.resources)
            problems.extend(document.problems)
            if document.problems:
                unread.append(document.unread)
        unread.append(Unread(everything=any(one.code in {"bad-yaml", "too-large"} for one in faults)))
        problems.extend(faults)
    if is_empty and not problems:
        hint = "a mesh file begins with `mesh: name`, a resource with `apiVersion` and `kind`"
        first = min(files, default="")
        return [Problem("missing-field", "nothing is declared here", first, 1 if first else 0, hint)]
    if not problems:
        return Loaded(tuple(resources), dict(files))
    return in_order([*problems, *(beyond(resources, union(unread)) if beyond else ())])


def _files(paths: Sequence[Path], problems: list[Problem]) -> Iterator[Path]:
    for path in paths:
        if not is_directory(path):
            yield path
            continue
        try:
            inside = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES and one.is_file())
        except OSError as error:
            problems.append(Problem("unreadable", f"cannot read it: {error.strerror}", str(path)))
            continue
        if not inside:
            problems.append(Problem("unreadable", "no *.yaml in this directory", str(path)))
        yield from inside
