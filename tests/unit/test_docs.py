"""What the documents claim and a program can check: links, files, commands, flags, manifests, figures."""

import contextlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.support.intruder import AS_ROOT_IN_CONTAINER, ATTEMPTS, IN_CONTAINER
from tests.support.manifests import FACTS
from tests.support.schema import faults
from tulle.cli.verbs import VERBS, root
from tulle.compiler import Compiled, compile_mesh
from tulle.manifest import Loaded, parse
from tulle.manifest.meshfile import (
    AccessRule,
    ContainerEntry,
    External,
    MeshFile,
    MeshRule,
    ReadinessEntry,
    ServiceEntry,
    Version,
)
from tulle.model.place import is_place
from tulle.model.telemetry import BasicAuth, PrometheusSink, Push, Spool, TelemetrySpec, TlsConfig
from tulle.model.workloads import Attach
from tulle.wire.snapshot import decode_snapshot, encode_snapshot

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")] if path.is_file()
)
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOLDERS = ("docs/", "examples/", "tests/", "tools/", "src/", "benchmarks/", ".ci/")


def each_document() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)


def anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def inline(document: Path) -> list[str]:
    """What stands between backticks outside of blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", document.read_text()))


def manifests(text: str) -> list[str]:
    """The blocks that are a mesh file or resources."""
    blocks = [body for language, body in FENCE.findall(text) if language == "yaml"]
    return [body for body in blocks if re.search(r"^(mesh|apiVersion):", body, re.MULTILINE)]


@each_document()
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        led = (document.parent / name).resolve() if name else document
        assert led.exists(), target
        assert not anchor or anchor in anchors(led), target


def test_the_readme_leads_to_every_guide() -> None:
    readme = (ROOT / "README.md").read_text()

    assert {
        one.name for one in (ROOT / "docs/guides").glob("*.md") if f"](docs/guides/{one.name})" not in readme
    } == set()


@each_document()
def test_files_that_are_named_exist(document: Path) -> None:
    for word in inline(document):
        if word.startswith(FOLDERS) and not re.search(r"[<>*{}]", word):
            assert (ROOT / word.split("::")[0].rstrip("/")).exists(), word


@each_document()
def test_make_targets_that_are_named_exist(document: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    blocks = [line for _, body in FENCE.findall(document.read_text()) for line in body.splitlines()]
    named = {found[1] for line in [*blocks, *inline(document)] if (found := re.match(r"make ([a-z-]+)", line))}

    assert named <= known


def commands(document: Path) -> Iterator[tuple[list[str], bool]]:
    """Command lines of `tulle`, and whether they stand in a block: between backticks one may leave its arguments out."""
    blocks = [body for language, body in FENCE.findall(document.read_text()) if language in ("sh", "")]
    for lines, is_whole in (("\n".join(blocks).splitlines(), True), (inline(document), False)):
        for line in lines:
            if re.match(r"tulle [a-z]+", line) and not re.search(r"[\[…]|FILE\|DIR", line):
                yield shlex.split(line, comments=True)[1:], is_whole


@each_document()
def test_commands_that_are_shown_are_commands(document: Path) -> None:
    for words, is_whole in commands(document):
        above = click.Context(root, info_name="tulle")
        verb, command, rest = root.resolve_command(above, words)
        assert command is not None
        with contextlib.nullcontext() if is_whole else contextlib.suppress(click.MissingParameter):
            if not any(word.isupper() for word in rest):
                command.make_context(verb, rest, parent=above)


def test_commands_are_found_at_all() -> None:
    shown = {words[0] for document in DOCUMENTS for words, _ in commands(document)}

    assert shown >= {"up", "why", "status", "check", "expand"}
    assert shown <= set(VERBS)


MANIFESTS = [
    pytest.param(text, id=f"{name}:{number}")
    for name, document in zip(NAMES, DOCUMENTS, strict=True)
    for number, text in enumerate(manifests(document.read_text()))
]
MESH_FILES = [
    *(pytest.param(path.read_text(), id=path.parent.name) for path in sorted(ROOT.glob("examples/*/mesh.yaml"))),
    pytest.param((ROOT / "docs/reference/everything.yaml").read_text(), id="everything"),
]


@pytest.mark.parametrize("text", MANIFESTS)
def test_manifests_that_are_shown_compile(text: str) -> None:
    read = parse({"mesh.yaml": text})
    assert isinstance(read, Loaded), "\n".join(map(str, read))

    made = compile_mesh(read.resources, FACTS)

    assert isinstance(made, Compiled), "\n".join(map(str, made))


@pytest.mark.parametrize("text", MESH_FILES)
def test_a_mesh_file_is_what_its_schema_says(text: str) -> None:
    schema = json.loads((ROOT / "docs/reference/mesh.schema.json").read_text())
    document = yaml.safe_load(text)

    assert faults(document, schema) == []
    assert faults(document | {"servces": {}}, schema) == ["servces: not a field"]
    assert faults(document | {"mode": "lax"}, schema) != []
    assert faults({name: value for name, value in document.items() if name != "mesh"}, schema) == ["mesh: missing"]


INNER: dict[tuple[type, str], type] = {
    (MeshFile, "deny"): MeshRule,
    (MeshFile, "services"): ServiceEntry,
    (MeshFile, "external"): External,
    (ServiceEntry, "versions"): Version,
    (ServiceEntry, "container"): ContainerEntry,
    (ServiceEntry, "attach"): Attach,
    (Version, "container"): ContainerEntry,
    (ServiceEntry, "readiness"): ReadinessEntry,
    (ServiceEntry, "allow"): AccessRule,
    (ServiceEntry, "deny"): AccessRule,
    (External, "allow"): AccessRule,
    (External, "deny"): AccessRule,
    (MeshFile, "telemetry"): TelemetrySpec,
    (TelemetrySpec, "prometheus"): PrometheusSink,
    (PrometheusSink, "push"): Push,
    (Push, "basic_auth"): BasicAuth,
    (Push, "tls_config"): TlsConfig,
    (Push, "spool"): Spool,
}


SINGLE = (ReadinessEntry, ContainerEntry, Attach, TelemetrySpec, PrometheusSink, Push, BasicAuth, TlsConfig, Spool)
"""Written as one mapping, not as a mapping of such."""


COMMENTED = {(Push, "bearer_token_file")}
"""Excludes what is written: shown in a comment."""


def written(kind: type, value: Any) -> Iterator[tuple[type, str]]:
    """Every field that a mesh file writes, with the kind that it is of."""
    for name, held in value.items():
        yield kind, name
        if inner := INNER.get((kind, name)):
            members = held if isinstance(held, list) else [held] if inner in SINGLE else held.values()
            for member in members:
                if isinstance(member, dict):
                    yield from written(inner, member)


def test_the_reference_shows_every_field_of_the_mesh_file() -> None:
    shown = set(written(MeshFile, yaml.safe_load((ROOT / "docs/reference/everything.yaml").read_text())))

    kinds = {MeshFile, *INNER.values()}
    known = {(kind, one.name.rstrip("_")) for kind in kinds for one in fields(kind) if not is_place(one.name)}
    assert known - shown == COMMENTED
    assert all(name in (ROOT / "docs/reference/everything.yaml").read_text() for _, name in COMMENTED)


@pytest.mark.parametrize("fixture", sorted(ROOT.glob("tests/fixtures/snapshots/*.json")), ids=lambda path: path.stem)
def test_a_checked_in_snapshot_is_one_that_the_proxy_takes(fixture: Path) -> None:
    from tulle.core.tables import build_tables

    snapshot = decode_snapshot(fixture.read_bytes())

    assert build_tables(snapshot).by_name
    assert json.loads(encode_snapshot(snapshot)) == json.loads(fixture.read_text())


@pytest.mark.parametrize("module", ["tulle.proxy", "tulle.agent", "tulle.supervisor"])
def test_the_architecture_names_every_flag_of_a_process(module: str) -> None:
    asked = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False)

    flags = set(re.findall(r"--[a-z-]+", asked.stdout + asked.stderr)) - {"--help"}

    assert flags
    assert [flag for flag in sorted(flags) if flag not in (ROOT / "ARCHITECTURE.md").read_text()] == []


@pytest.mark.parametrize(("module", "title"), [("proxy/admin.py", "## Admin API"), ("agent/api.py", "## Agent API")])
def test_the_architecture_names_every_route_of_an_api(module: str, title: str) -> None:
    routes = set(re.findall(r'"(?:GET|PUT|POST)", "(/[a-z]+)"', (ROOT / "src/tulle" / module).read_text()))
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = text[text.index(title) :].partition("\n## ")[0]

    assert routes
    assert [route for route in sorted(routes) if route not in section] == []


def test_the_security_document_says_the_outcomes_that_the_intruder_expects() -> None:
    rows = table_rows((ROOT / "SECURITY.md").read_text().replace(section_on_containers(), ""))
    for attempt in ATTEMPTS:
        (told,) = [outcome for what, outcome in rows.items() if attempt.what in (what, what.partition(" (")[0])]
        codes = set(re.findall(r"`(E[A-Z]+)`", told))
        expected = set(attempt.expected) - {"done"}
        codes |= expected & {"ENOENT"} if "nothing there" in told else set()
        depends = ";" in told  # on who runs Tulle, or on how pods dial: this process knows one of the ways
        assert expected <= codes and (depends or codes == expected or "done" in attempt.expected), (attempt.what, told)


def test_the_security_document_says_what_is_otherwise_in_a_container() -> None:
    rows = table_rows(section_on_containers())
    for what, expected in (IN_CONTAINER | AS_ROOT_IN_CONTAINER).items():
        codes = set(re.findall(r"`((?:E|SIG)[A-Z]+)`", rows[what]))
        assert codes == set(expected) - {"done"}, (what, rows[what])
        assert what in IN_CONTAINER or "as `user: root`" in rows[what]
    assert rows.keys() - {"attempt"} == (IN_CONTAINER | AS_ROOT_IN_CONTAINER).keys()


def section_on_containers() -> str:
    return (ROOT / "SECURITY.md").read_text().partition("\n### Containers\n")[2].partition("\nWhat stays open:\n")[0]


def table_rows(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| (.+?) \| (.+) \|$", text, re.MULTILINE))


def test_what_is_needed_beforehand_is_what_the_set_up_asks_for() -> None:
    setup, project = (ROOT / "tools/setup.sh").read_text(), (ROOT / "pyproject.toml").read_text()
    asked = re.search(r"Python (3\.\d+) or newer", setup)
    assert asked
    assert f'requires-python = ">={asked[1]}"' in project
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text()
        assert f"Python ≥ {asked[1]}" in text
        assert "Linux ≥ 5.12" in text
