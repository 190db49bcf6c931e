"""Whatever a compose file holds: a mesh file that is valid, and every value in it or in the notes; or problems with a line."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from tools.compose_fixtures import CORPUS, surroundings
from tulle.compiler import Compiled, Facts, compile_mesh, sure_faults
from tulle.manifest import Loaded, parse
from tulle.manifest.compose import Imported, Note, Surroundings, convert
from tulle.model.catalogue import CODES

FILE = "compose.yaml"
MEANT = re.compile(r"t\d+k|\b2\d{4}\b")
"""Texts and numbers of which each stands once in a tree."""

AROUND = Surroundings("project", {"HOME": "/home/somebody"}, read={"here.env": "IN_FILE=1\n"}.get)


def text(*shapes: str) -> st.SearchStrategy[str]:
    """Texts in which `@` becomes a word and `#` a port, each unlike all others."""
    return st.sampled_from(shapes)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with some of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def sure(
    given: dict[str, st.SearchStrategy[Any]], **fields: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with all of the given fields, and some of the others."""
    return st.fixed_dictionaries(given, optional=fields)


def few(one: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(one, max_size=3)


NAMES = ["web", "db_1", "Cache", "a.b", "localhost", "x" * 70]
WORDS = text("@", "--@=x", "@ @", "", "@: y", "# @", "@\n@", "*@", "@ ", "🦆@", "@,@", "{@}")
SWITCH = st.sampled_from([True, False, None])
TIMES = text("15s", "1m30s", "5h", "100ms", "0s", "90")
SIZES = text("64m", "1g", "100kb", "2.5G", "1000b")
ENV = st.one_of(
    few(text("K@=@", "K@", "PASSWORD_K=@", "K@=", "K@=http://u:@@db_1/")), st.dictionaries(text("K", "L", "TOKEN"), st.one_of(WORDS, st.none(), SWITCH))
)  # fmt: skip
PORTS = few(
    st.one_of(
        text("#:#", "#", "127.0.0.1:#:#", "#:#/udp", "#:#/tcp", "[::1]:#:#", "0.0.0.0:#:#", ":#"),
        sure({"target": text("#")}, published=text("#"), host_ip=text("0.0.0.0", "10.0.0.1"), protocol=text("tcp", "udp"),
             app_protocol=text("http", "grpc", "@"), mode=text("host", "@"), name=text("@")),
    )
)  # fmt: skip
VOLUMES = few(
    st.one_of(
        text("./@:/@", "@:/@:ro", "/@:/@:rw,@", "~/@:/@", "/@", "data:/@", "../@:/@/"),
        sure({"target": text("/@")}, type=text("bind", "volume", "tmpfs", "npipe"), source=text("@", "./@"), read_only=SWITCH,
             bind=some(propagation=text("@")), volume=some(subpath=text("@")), consistency=text("@")),
    )
)  # fmt: skip
HEALTH = some(
    test=st.one_of(
        text("curl -f http://localhost:#/@ || exit 1", "wget -qO- localhost/@?@", "nc -z localhost #", "@", "curl @", "a | @"),
        st.lists(text("curl", "http://127.0.0.1:#/@", "@", "-f"), max_size=4).map(lambda words: ["CMD", *words]),
    ),
    interval=TIMES, timeout=TIMES, start_period=TIMES, start_interval=TIMES, retries=st.integers(0, 2000), disable=SWITCH, odd=text("@"),
)  # fmt: skip
DEPENDS = st.one_of(
    few(st.sampled_from(NAMES)),
    st.dictionaries(
        st.sampled_from(NAMES),
        some(condition=text("service_started", "service_healthy", "service_completed_successfully"), required=SWITCH, restart=SWITCH, odd=text("@")),
        max_size=2,
    ),
)  # fmt: skip
ANY = st.recursive(
    st.one_of(text("@", "@ @", ""), st.none(), st.booleans()), lambda inner: st.one_of(few(inner), st.dictionaries(text("a", "b"), inner, max_size=2)), max_leaves=6
)  # fmt: skip
LIMITS = some(
    limits=some(cpus=text("0.5", "2"), memory=SIZES, pids=text("@")), reservations=some(memory=text("@"), devices=ANY)
)
MOUNTED = few(
    st.one_of(
        text("held", "made"),
        sure({"source": text("held", "made")}, target=text("@", "/@"), mode=text("@"), uid=text("@")),
    )
)
SERVICE = st.fixed_dictionaries(
    {"image": text("@/@:1", "@")},
    optional={
        "ports": PORTS, "expose": few(text("#", "#/tcp", "#/udp")), "volumes": VOLUMES, "environment": ENV, "healthcheck": HEALTH,
        "depends_on": DEPENDS, "links": few(text("web:@", "db_1")), "command": st.one_of(WORDS, few(WORDS), st.none()),
        "entrypoint": st.one_of(WORDS, few(WORDS), st.none()), "user": text("@", "1000:1000"), "working_dir": text("/@"),
        "restart": text("always", "no", "on-failure:3", "unless-stopped"), "mem_limit": SIZES, "cpus": text("0.25", "0.001"),
        "deploy": some(resources=LIMITS, replicas=st.integers(0, 3), restart_policy=ANY, labels=ANY, odd=ANY),
        "stop_grace_period": TIMES, "stop_signal": text("SIGTERM", "SIG@"), "pull_policy": text("always", "never", "missing", "@"),
        "build": st.one_of(text("./@"), some(context=text("./@"), args=ENV, target=text("@"))), "profiles": few(text("@")),
        "networks": ANY, "network_mode": text("host", "service:web", "@"), "labels": ANY, "logging": ANY, "privileged": SWITCH,
        "cap_add": few(text("@")), "devices": few(text("/@")), "extra_hosts": ANY, "hostname": text("@"), "container_name": text("@"),
        "secrets": MOUNTED, "configs": MOUNTED, "x-own": ANY, "unknown": ANY, "scale": st.integers(0, 2), "extends": text("web", "db_1"),
        "env_file": st.one_of(text("here.env"), few(st.one_of(text("here.env"), sure({"path": text("@.env"), "required": st.just(False)})))),
    },
)  # fmt: skip
HELD = st.fixed_dictionaries({"held": st.just({"file": "./@"}), "made": some(environment=text("@"), external=SWITCH)})
PROJECT = st.fixed_dictionaries(
    {"services": st.dictionaries(st.sampled_from(NAMES), SERVICE, min_size=1, max_size=3), "secrets": HELD, "configs": HELD},
    optional={
        "name": text("@", "A @"), "version": text("@"), "networks": ANY, "volumes": st.dictionaries(text("data", "other"), ANY),
        "x-any": ANY, "unknown": ANY, "include": ANY,
    },
)  # fmt: skip


def told_apart(tree: Any) -> Any:
    """`@` and `#` replaced, each occurrence by another."""
    count = 0

    def one(match: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return f"t{count}k" if match[0] == "@" else str(20_000 + count)

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {key if key in NAMES else walk(key): walk(held) for key, held in node.items()}
        if isinstance(node, list):
            return [walk(held) for held in node]
        return re.sub("[@#](?! )", one, node) if isinstance(node, str) else node

    return walk(tree)


def ordered(project: dict[str, Any]) -> dict[str, Any]:
    """Services refer to those before them only."""
    before: set[str] = set()
    for name, service in project["services"].items():
        for field in ("depends_on", "links"):
            held = service.get(field, [])
            kept = [one for one in held if one.partition(":")[0] in before]
            if field in service:
                service[field] = {one: held[one] for one in kept} if isinstance(held, dict) else kept
        if service.get("extends") not in before:
            service.pop("extends", None)
        if service.get("network_mode") == "service:web" and "web" not in before:
            del service["network_mode"]
        before.add(name)
    return project


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Path and text of each value that is neither list nor mapping."""
    if isinstance(node, dict):
        for key, held in node.items():
            yield from leaves(held, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list):
        for number, held in enumerate(node):
            yield from leaves(held, f"{path}[{number}]")
    else:
        yield path, str(node)


def names(note: Note, path: str) -> bool:
    """A note speaks of the value at a path or of what holds it, without showing the whole of it."""
    what, colon, shown = note.what.partition(": ")
    within = path == what or path.startswith((f"{what}.", f"{what}["))
    return bool(colon) and within and ("…" in shown or shown in {"null", "[]", "{}"})


def holds_to_its_promises(made: Imported, tree: Any) -> None:
    read = parse({"mesh.yaml": made.text}, sure_faults)
    assert isinstance(read, Loaded), made.text + "\n".join(map(str, read))
    compiled = compile_mesh(read.resources, Facts(generation=1))
    assert isinstance(compiled, Compiled), made.text + "\n".join(map(str, compiled))
    said = made.text + "\n".join(note.what + note.why for note in made.notes)
    for path, leaf in leaves(tree):
        for word in MEANT.findall(leaf):
            assert word in said or any(names(note, path) for note in made.notes), (path, leaf, said)
    for note in made.notes:
        assert note.place.file == FILE
        assert note.place.line
        assert all(line.isprintable() for line in str(note).split("\n"))


def answers(source: str, tree: Any = None, around: Surroundings | None = None) -> bool:
    """Imports, and holds the answer to its promises; whether it was a mesh file."""
    around = around or AROUND
    made = convert(FILE, source, around)
    if isinstance(made, Imported):
        holds_to_its_promises(made, tree)
        return True
    assert made
    for problem in made:
        assert problem.code in CODES, problem
        assert problem.file == FILE, problem
        assert 1 <= problem.line <= source.count("\n") + source.count("\r") + 1, problem
        assert all(line.isprintable() for line in str(problem).split("\n")), problem
    return False


@given(PROJECT, st.sampled_from([frozenset({"*"}), frozenset()]))
def test_every_value_of_a_project_is_in_the_mesh_file_or_in_the_notes(
    tree: dict[str, Any], profiles: frozenset[str]
) -> None:
    project = told_apart(ordered(tree))
    around = replace(AROUND, profiles=profiles)
    assert answers(yaml.safe_dump(project, allow_unicode=True, sort_keys=False), project, around)


@given(
    PROJECT,
    st.sampled_from(
        sorted(
            {"services", "ports", "environment", "image", "volumes", "healthcheck", "depends_on", "deploy", "secrets"}
        )
    ),
    ANY,
)
def test_a_value_of_the_wrong_type_is_a_mesh_file_or_a_problem(tree: dict[str, Any], where: str, other: Any) -> None:
    def swapped(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: other if key == where else swapped(held) for key, held in node.items()}
        return [swapped(held) for held in node] if isinstance(node, list) else node

    project = told_apart(swapped(tree))
    answers(yaml.safe_dump(project, allow_unicode=True, sort_keys=False), project)


@given(
    st.recursive(
        st.one_of(st.text(max_size=8), st.none(), st.integers()),
        lambda inner: st.one_of(
            few(inner), st.dictionaries(st.sampled_from(["services", "a", "image", "ports", "x-y", "extends"]), inner)
        ),
    )
)
def test_any_tree(tree: Any) -> None:
    answers(yaml.safe_dump(tree, allow_unicode=True), {})


@given(st.text(max_size=300))
def test_any_text(source: str) -> None:
    answers(source, {})


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A compose file with some of its lines moved, doubled, dropped, or their values replaced."""
    lines = draw(st.sampled_from(CORPUS)).read_text().split("\n")
    values = [
        "",
        "[]",
        "{}",
        "[[]]",
        "*common",
        "$",
        "${",
        "${A:?}",
        "$$",
        "0",
        "-1",
        "x" * 300,
        "!reset null",
        "&a",
        "{a: b}",
        "~",
        "é",
        "\x85",
    ]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                del lines[at]
                lines = lines or [""]
            case 1:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 2:
                lines[at] = lines[at].partition(":")[0] + ": " + draw(st.sampled_from(values))
            case _:
                lines[at] = lines[at].replace("  ", "", 1)
    return "\n".join(lines)


@given(mutated())
def test_a_compose_file_with_mistakes(source: str) -> None:
    answers(source, {}, surroundings())


def test_the_corpus_is_imported() -> None:
    for compose in CORPUS:
        assert answers(compose.read_text(), {}, surroundings()), compose.name
