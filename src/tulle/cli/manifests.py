"""Manifests as the verbs need them: read, compiled, or refused with every problem."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from tulle.agent.faults import fault_of
from tulle.cli.words import Ended, Exit, say_faults, show_json
from tulle.compiler import Compiled, Facts, compile_mesh, sure_faults
from tulle.manifest import Loaded, home_of, load
from tulle.model.place import Problem


def read(paths: Sequence[Path], *, as_json: bool = False) -> Loaded:
    """What the manifests say; says all problems and ends where there are any."""
    loaded = load(paths, sure_faults)
    if isinstance(loaded, list):
        refuse(loaded, as_json=as_json)
    return loaded


def read_and_compile(paths: Sequence[Path], *, as_json: bool = False) -> tuple[Loaded, Compiled]:
    """The same, and what they compile to on a node that has nothing yet."""
    loaded = read(paths, as_json=as_json)
    compiled = compile_mesh(
        loaded.resources,
        Facts(
            generation=1,
            manifests=tuple(str(path.absolute()) for path in paths),
            base_dir=str(home_of(paths)),
        ),
    )
    if isinstance(compiled, list):
        refuse(compiled, as_json=as_json)
    return loaded, compiled


def refuse(problems: Iterable[Problem], *, as_json: bool = False) -> NoReturn:
    """Says every problem; ends with the code for that."""
    faults = list(map(fault_of, problems))
    if as_json:
        show_json({"problems": faults})
    say_faults(faults)
    raise Ended(Exit.PROBLEMS)
