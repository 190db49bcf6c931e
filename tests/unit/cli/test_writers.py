import os
import stat
import sys
from pathlib import Path

import pytest

import tulle
from tulle.cli.writers import other_writers, own_program

FILE, DIRECTORY = stat.S_IFREG, stat.S_IFDIR
ROOT = (DIRECTORY | 0o755, 0)


def told(**facts: tuple[int, int]) -> list[str]:
    """What is said of /srv/mesh/mesh.yaml where these have another mode and owner."""
    paths = {"/": ROOT, "/srv": ROOT, "/srv/mesh": ROOT, "/srv/mesh/mesh.yaml": (FILE | 0o644, 0)}
    paths |= {
        {"top": "/srv", "directory": "/srv/mesh", "file": "/srv/mesh/mesh.yaml"}[key]: value
        for key, value in facts.items()
    }

    def seen(path: Path) -> os.stat_result:
        mode, uid = paths[str(path)]
        return os.stat_result((mode, 0, 0, 1, uid, 0, 0, 0, 0, 0))

    return other_writers([Path("/srv/mesh/mesh.yaml")], seen)


def test_what_only_root_may_write_needs_no_words() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"file": (FILE | 0o644, 4_000_000)}, "/srv/mesh/mesh.yaml belongs to uid 4000000"),
        ({"file": (FILE | 0o664, 0)}, "/srv/mesh/mesh.yaml may be written by others (mode 664)"),
        ({"directory": (DIRECTORY | 0o755, 4_000_000)}, "/srv/mesh belongs to uid 4000000"),
        ({"top": (DIRECTORY | 0o777, 0)}, "/srv may be written by others (mode 777)"),
    ],
)
def test_whoever_else_may_write_or_replace_it_is_named(facts: dict[str, tuple[int, int]], words: str) -> None:
    assert told(**facts) == [words]


def test_a_sticky_directory_lets_nobody_replace_the_file() -> None:
    assert told(top=(DIRECTORY | 0o1777, 0)) == []


def test_what_tulle_runs_from_is_the_interpreter_by_every_link_and_its_own_files() -> None:
    paths = {path.resolve() for path in own_program()}

    assert Path(sys.executable).resolve() in paths
    assert Path(sys.executable).parent in set(own_program())
    assert Path(tulle.__file__).parent.resolve() / "supervisor/loop.py" in paths
    assert Path(os.__file__).parent.resolve() in paths
