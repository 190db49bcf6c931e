"""What `tulle expand` prints is accepted again and means the same, whatever mesh it was made of."""

import json
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from tulle.compiler import Compiled, Facts, compile_mesh
from tulle.manifest import Loaded, dump, parse

FACTS = Facts(generation=3, base_dir="/m", environment={"PATH": "/usr/bin"})
NAMES = ["a", "b", "prod/c", "prod/d"]
PORTS = [80, 81, 8080]

callers = st.lists(st.sampled_from([*NAMES, "prod/*", "dev/*", "*"]), min_size=1, max_size=2, unique=True)
words = st.sampled_from(["x", "no", "010", "1e3", "~", "a: b", "# c", "é", "'", '"', "*a", "&a", " s "])


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


requests = {
    "methods": st.lists(st.sampled_from(["GET", "P*", "*"]), min_size=1, max_size=2, unique=True),
    "paths": st.lists(st.sampled_from(["/", "/a/*", "*/b", "/é", "/a%2Fb"]), min_size=1, max_size=2, unique=True),
    "hosts": st.lists(st.sampled_from(["a", "*.x", "h*", "[::1]"]), min_size=1, max_size=2, unique=True),
}
rules = st.lists(optional(**{"from": callers}, **requests), max_size=2)
service = optional(
    protocol=st.sampled_from(["http", "tcp"]),
    calls=callers,
    allow=rules,
    deny=rules,
    env=st.dictionaries(st.sampled_from(["A", "B c", "no"]), words, max_size=2),
    workdir=words,
    user=st.just("nobody"),
    writable=st.just(["/var/lib/x"]),
    readiness=st.sampled_from(["/health", {"path": "/h", "port": 9, "timeout": 2.5}, {"port": 7}]),
    isolation=st.sampled_from(["pod", "none"]),
    stop_seconds=st.sampled_from([0, 1, 2.5, 3600]),
)
runs = st.sampled_from(["x", "x --y 'z w'", ["x", "x", "# no"]])
versions = st.dictionaries(
    st.sampled_from(["v1", "v2"]),
    st.fixed_dictionaries({"run": runs}, optional={"weight": st.integers(1, 99), "env": st.just({"A": "no"})}),
    min_size=1,
)
external = st.fixed_dictionaries(
    {"host": st.sampled_from(["10.0.0.1", "db.example", "::1"]), "port": st.sampled_from(PORTS)},
    optional={"protocol": st.sampled_from(["http", "tcp"]), "allow": rules, "namespace": st.just("prod")},
)


@st.composite
def meshes(draw: st.DrawFn) -> dict[str, Any]:
    """A mesh file, seldom one with problems."""
    services = {}
    for number, name in enumerate(NAMES):
        entry = draw(service)
        has_port = bool({"allow", "deny", "protocol"}.intersection(entry)) or draw(st.booleans())
        if has_port:
            entry["port"] = 8000 + number
            if draw(st.booleans()):
                entry["expose"] = 18000 + number
        if entry.get("protocol") == "tcp":
            for rule in entry.get("allow", []):
                for field in requests:
                    rule.pop(field, None)
        if entry.get("isolation") == "none":
            entry.pop("calls", None)
        if has_port and draw(st.booleans()):
            entry["versions"] = draw(versions)
        else:
            entry["run"] = draw(runs)
        services[name] = entry
    mesh: dict[str, Any] = {"mesh": "m", "services": services}
    mesh |= draw(optional(mode=st.sampled_from(["strict", "permissive", "shadow"]), trust_domain=st.just("x.y")))
    mesh["deny"] = draw(st.lists(optional(**{"from": callers, "to": callers}, **requests), max_size=2))
    mesh["external"] = draw(st.dictionaries(st.sampled_from(["e", "f"]), external, max_size=2))
    return mesh


@given(meshes())
def test_an_expanded_mesh_is_accepted_and_compiles_to_the_same(mesh: dict[str, Any]) -> None:
    read = parse({"mesh.yaml": json.dumps(mesh)})
    made = compile_mesh(read.resources, FACTS) if isinstance(read, Loaded) else read
    event("compiles" if isinstance(made, Compiled) else f"refused: {sorted({one.code for one in made})}")
    if not (isinstance(read, Loaded) and isinstance(made, Compiled)):
        return

    text = dump(read.resources)
    again = parse({"expanded.yaml": text})

    assert isinstance(again, Loaded), "\n".join(map(str, again))
    assert compile_mesh(again.resources, FACTS) == made
    assert dump(again.resources) == text
