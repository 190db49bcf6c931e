"""YAML is read strictly, within bounds, and without 1.1's surprises."""

import pytest

from tulle.manifest.tree import MAX_DEPTH, Fields, Items, Node, Scalar, read_trees
from tulle.model.place import Problem


def plain(node: Node) -> object:
    """A tree as plain values."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Items):
        return [plain(one) for one in node.nodes]
    return {entry.key.text: plain(entry.node) for entry in node.entries}


def faults(text: str) -> list[Problem]:
    """What is wrong with it as YAML."""
    problems: list[Problem] = []
    for _ in read_trees("f", text, problems):
        pass
    return problems


def only(text: str) -> object:
    problems: list[Problem] = []
    trees = list(read_trees("f", text, problems))
    assert problems == []
    return [plain(one) for one in trees]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on: no", [{"on": "no"}]),
        ("a: 010", [{"a": "010"}]),
        ("a: 12:30", [{"a": "12:30"}]),
        ("a: 2026-11-21", [{"a": "2026-11-21"}]),
        ("a: 1_000", [{"a": "1_000"}]),
        ("", []),
        ("---\n---\na: b\n---\n# nothing\n", [{"a": "b"}]),
        ("a: &x {b: c}\nd: *x", [{"a": {"b": "c"}, "d": {"b": "c"}}]),
        ("a: &x {b: c, e: f}\nd: {<<: *x, b: own}", [{"a": {"b": "c", "e": "f"}, "d": {"b": "own", "e": "f"}}]),
        ("{a: [1, 2]}", [{"a": ["1", "2"]}]),
        ("a: |\n  two\n  lines\n", [{"a": "two\nlines\n"}]),
    ],
)
def test_every_scalar_stays_the_text_it_was(text: str, expected: object) -> None:
    assert only(text) == expected


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a: 1\nb: 2\na: 3", "duplicate-key", 3),
        ("a: [1", "bad-yaml", 1),
        ("a: 1\nb: 'x\nc: d\n", "bad-yaml", 2),
        ("a:\n\t- b", "bad-yaml", 2),
        ("a: *nobody", "bad-yaml", 1),
        ("a: &x [*x]", "bad-yaml", 1),
        ("a: 1\nb: !!python/object:os.system x", "bad-yaml", 2),
        ("a: !mine x", "bad-yaml", 1),
        ("? [a]\n: b", "bad-yaml", 1),
        ("~: b", "bad-yaml", 1),
        ("a: b\nc: \x00", "bad-yaml", 2),
        ("a: 𐀀\xe9\x1b\n\n\n\n\n\n", "bad-yaml", 1),
        ("a: \ud800", "bad-yaml", 1),
        ("<<: 3", "bad-yaml", 1),
        ("%YAML 3.0\n---\na: b", "bad-yaml", 1),
    ],
)
def test_what_cannot_be_read_has_a_place(text: str, code: str, line: int) -> None:
    problems = faults(text)

    assert [(one.code, one.file, one.line) for one in problems] == [(code, "f", line)]


def test_nesting_is_bounded() -> None:
    problems = faults("[" * (MAX_DEPTH + 2))

    assert [one.code for one in problems] == ["too-large"]


def test_nesting_far_beyond_the_bound_is_refused_as_well() -> None:
    problems = faults("[" * 200_000)

    assert len(problems) == 1


def test_a_bomb_of_aliases_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]

    problems = faults("\n".join(lines))

    assert [one.code for one in problems] == ["too-large"]


def test_a_bomb_of_merges_is_refused_as_well() -> None:
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: v" for n in range(50)) + "}"]
    lines += [f"a{n}: &a{n} {{k{n}x: *a{n - 1}, k{n}y: *a{n - 1}, <<: *a{n - 1}}}" for n in range(1, 40)]

    problems = faults("\n".join(lines))

    assert [one.code for one in problems] == ["too-large"]


def test_places_are_lines_as_an_editor_counts_them() -> None:
    trees = list(read_trees("f", "---\n\na:\n  b: c\n", []))

    assert isinstance(trees[0], Fields)
    inner = trees[0].entries[0].node
    assert isinstance(inner, Fields)
    assert inner.entries[0].key.place.line == 4
