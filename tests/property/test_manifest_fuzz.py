"""Whatever is written, the answer is a mesh or problems with a place: never a traceback, never silence."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tulle.compiler import Compiled, Facts, compile_mesh, sure_faults
from tulle.manifest import Loaded, dump, parse
from tulle.model.catalogue import CODES

ROOT = Path(__file__).parents[2]
SEEDS = sorted((ROOT / "examples").glob("*/mesh.yaml"))
SEED_TEXTS = [one.read_text() for one in SEEDS]


def expand(text: str) -> str:
    """A mesh file as resources."""
    read = parse({"m": text})
    assert isinstance(read, Loaded)
    return dump(read.resources)


CORPUS = [*SEED_TEXTS, *map(expand, SEED_TEXTS)]

VALUES = st.sampled_from(
    ["", "~", "[]", "{}", "[[]]", "*", "a/*", "'*'", "0", "-1", "010", "1e9", "70000", "no", "on", "x" * 300, "\x00", "é",
     "&a", "*a", "<<: *a", "- ", "!!int 3", "!x y", "|", "'", '"', "{from: []}", "[{}]", "prod/*", "web", "nan", "\u2028",
     "ALLOW", "a/b/c", "../..", "{name: x}", "? ", "---", "...", "%YAML 1.1"]
)  # fmt: skip


def check(text: str) -> None:
    """Reads, compiles, and holds the answer to its promises."""
    read = parse({"mesh.yaml": text}, sure_faults)
    made = compile_mesh(read.resources, Facts(generation=1)) if isinstance(read, Loaded) else read
    if isinstance(made, Compiled):
        assert isinstance(read, Loaded)
        again = parse({"expanded.yaml": dump(read.resources)})
        assert isinstance(again, Loaded), "\n".join(map(str, again))
        assert compile_mesh(again.resources, Facts(generation=1)) == made
        return
    assert made
    for problem in made:
        assert problem.code in CODES, problem
        assert problem.file == "mesh.yaml", problem
        assert 1 <= problem.line <= max(1, len(text.splitlines()) + text.count("\r")), problem
        assert all(line.isprintable() for line in str(problem).split("\n")), problem


@given(st.text(max_size=400))
def test_any_text(text: str) -> None:
    check(text)


@given(st.binary(max_size=400))
def test_any_octets_that_are_text(octets: bytes) -> None:
    check(octets.decode("latin-1"))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid manifest with some of its lines or words replaced, moved, doubled or dropped."""
    lines = draw(st.sampled_from(CORPUS)).split("\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 5)):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 2:
                lines[at] = lines[at].partition(":")[0] + ": " + draw(VALUES)
            case 3:
                words = lines[at].split(" ")
                words[draw(st.integers(0, len(words) - 1))] = draw(VALUES)
                lines[at] = " ".join(words)
            case 4:
                lines[at] = " " * draw(st.integers(0, 3)) + lines[at].lstrip()
            case _:
                cut = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + draw(st.text(max_size=3)) + lines[at][cut:]
        lines = lines or [""]
    return "\n".join(lines)


@given(mutated())
def test_any_mutation_of_a_valid_manifest(text: str) -> None:
    check(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(["mesh", "services", "a", "b", "run", "port", "allow", "from", "to", "kind", "apiVersion", "spec", "metadata",
                     "name", "selector", "rules", "versions", "weight", "external", "host", "deny", "env"]), inner, max_size=5),
    max_leaves=20))  # fmt: skip
def test_any_tree_of_known_words(tree: object) -> None:
    check(json.dumps(tree))
