"""That nothing is measured in the name of sources that it was not made of."""

from __future__ import annotations

from pathlib import Path

import pytest

import hatch_build
from benchmarks.compiled import outdated


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A compiled tree of other sources."""
    made = tmp_path / "compiled"
    (made / "tulle").mkdir(parents=True)
    (made / hatch_build.SEAL).write_text("of yesterday")
    return made


def test_tree_of_other_sources_is_not_measured_as_these(tree: Path) -> None:
    assert outdated(tree, own=tree) == f"{tree} was compiled of other sources than these: make compiled"


def test_tree_that_was_not_made_to_the_end_is_not_measured(tree: Path) -> None:
    (tree / hatch_build.SEAL).unlink()

    assert outdated(tree, own=tree) is not None


def test_another_tree_is_taken_as_it_is(tree: Path) -> None:
    assert outdated(tree) is None
    assert outdated(tree, own=tree.with_name("other")) is None


def test_box_without_a_compiled_tree_has_none_that_is_old(tree: Path) -> None:
    absent = tree.with_name("absent")

    assert outdated(absent, own=absent) is None


def test_tree_of_these_sources_is_measured(tree: Path) -> None:
    (tree / hatch_build.SEAL).write_text(hatch_build.digest_of_sources())

    assert outdated(tree, own=tree) is None
