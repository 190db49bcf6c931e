"""Manifests in tests: text in, resources or problems out, and nothing in between unsaid."""

from textwrap import dedent

from tulle.compiler import Compiled, Facts, compile_mesh, sure_faults
from tulle.manifest import Loaded, parse
from tulle.model.place import Problem

FACTS = Facts(
    generation=7, manifests=("/m/mesh.yaml",), base_dir="/m", environment={"PATH": "/usr/bin", "LANG": "C.UTF-8"}
)


def loaded(text: str) -> Loaded:
    """What a valid manifest says."""
    read = parse({"mesh.yaml": dedent(text)}, sure_faults)
    assert isinstance(read, Loaded), "\n".join(map(str, read))
    return read


def refused(text: str) -> list[Problem]:
    """What is wrong with a manifest, as text or as a mesh."""
    read = parse({"mesh.yaml": dedent(text)}, sure_faults)
    if isinstance(read, Loaded):
        made = compile_mesh(read.resources, FACTS)
        assert not isinstance(made, Compiled), "it compiles"
        return made
    return read


def compiled(text: str, facts: Facts = FACTS) -> Compiled:
    """What a valid manifest becomes."""
    made = compile_mesh(loaded(text).resources, facts)
    assert isinstance(made, Compiled), "\n".join(map(str, made))
    return made


def codes(text: str) -> list[tuple[str, int]]:
    """Code and line of every problem."""
    return [(one.code, one.line) for one in refused(text)]
