"""Writes every file that is generated from the types; `--check` fails with a diff where one has drifted.

To add one: a function that returns its text, and a line in GENERATED.
"""

import argparse
import difflib
import functools
import inspect
import json
import pathlib
import sys
from collections.abc import Callable

import msgspec

from tools import compose_fixtures
from tools.cli_reference import cli
from tools.dashboard import dashboard
from tools.pages import constants, field_docstrings, page, table
from tools.reference import example_snapshot, mesh_file, mesh_schema, problems, resources
from tulle.agent.metrics import AGENT_METRICS
from tulle.http.h2 import limits as h2_limits
from tulle.proxy import exchange
from tulle.proxy.grpc import STATUSES
from tulle.proxy.metrics import METRICS
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Limits, Snapshot

ROOT = pathlib.Path(__file__).resolve().parent.parent


def snapshot_schema() -> str:
    """JSON Schema of the Snapshot."""
    schema = msgspec.json.schema(Snapshot)
    for definition in schema["$defs"].values():
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Tulle snapshot"}
    return json.dumps(head | schema, indent=2) + "\n"


def reasons() -> str:
    """The table of reason codes."""
    rows = [
        (
            f"`{reason.code}`",
            str(reason.status),
            STATUSES[reason.grpc_status],
            reason.fault.value,
            "yes" if reason.retryable else "no",
            reason.meaning,
        )
        for reason in Reason
    ]
    return page(
        "Reasons",
        "Every answer that the proxy makes itself carries one of these codes in `x-tulle-reason`; metrics and "
        "`tulle tap` use the same, `tulle why REQUEST-ID` explains one. A gRPC call is answered with the status of gRPC and the meaning as its message; "
        "where an endpoint reset the call, with the one that gRPC gives the code of its reset. *Fault* says whose it was, *retry* whether sending the "
        "same request again may help.",
        table(("code", "status", "gRPC", "fault", "retry", "meaning"), rows),
    )


def limits() -> str:
    """The table of deadlines and limits."""
    meanings = field_docstrings(Limits)
    rows = [
        (f"`{field.name}`", f"{field.default:g}" if isinstance(field.default, float) else str(field.default),
         unit_of(field.name), meanings[field.name])
        for field in msgspec.structs.fields(Limits)
    ]  # fmt: skip
    return page(
        "Limits",
        "Deadlines and sizes that the proxy holds to, as the Snapshot's `limits` carries them. Manifests cannot change them yet.",
        table(("name", "default", "unit", "meaning"), rows),
        "## Of HTTP/2, fixed",
        table(("name", "value", "meaning"), [(f"`{name}`", value, meaning) for name, value, meaning in fixed()]),
    )


def fixed() -> list[tuple[str, str, str]]:
    """Bounds of a connection and a stream that no snapshot changes."""
    return [*constants(h2_limits), *(one for one in constants(exchange) if one[0] in ("MAX_INTERIM", "REPLAY_BYTES"))]


def metrics() -> str:
    """The tables of the proxy's and the agent's metrics."""
    head = ("name", "type", "labels", "meaning")
    of_the_proxy, of_the_agent = (
        [
            (f"`{one.name}`", one.kind.value, ", ".join(f"`{label}`" for label in one.labels), one.meaning)
            for one in some
        ]
        for some in (METRICS, AGENT_METRICS)
    )
    return page(
        "Metrics",
        "What `GET /metrics` shows, on the proxy's admin socket and on 127.0.0.1:15020. Labels come from the snapshot, never "
        "from traffic, so their number is bounded; series whose pair has left the snapshot disappear.",
        table(head, of_the_proxy),
        "## Of the agent",
        "Pushed with the others, and shown by the agent's socket; not on 127.0.0.1:15020, which the proxy serves. Those named "
        "`tulle_push_…` are there while metrics are pushed.",
        table(head, of_the_agent),
    )


def with_example(text: str, name: str) -> str:
    """A page with a manifest of its own directory shown whole before its first section."""
    shown = (ROOT / "docs/reference" / name).read_text().rstrip()
    before, first, rest = text.partition("\n## ")
    return f"{before}\n## By example\n\n[`{name}`]({name}):\n\n```yaml\n{shown}\n```\n{first}{rest}"


GENERATED: list[tuple[str, Callable[[], str]]] = [
    ("docs/reference/snapshot.schema.json", snapshot_schema),
    ("docs/reference/reasons.md", reasons),
    ("docs/reference/limits.md", limits),
    ("docs/reference/metrics.md", metrics),
    ("src/tulle/dashboards/tulle.json", dashboard),
    ("docs/reference/mesh-file.md", lambda: with_example(mesh_file(), "everything.yaml")),
    ("docs/reference/mesh.schema.json", mesh_schema),
    ("docs/reference/resources.md", lambda: with_example(resources(), "resources.yaml")),
    ("docs/reference/problems.md", problems),
    ("docs/reference/cli.md", cli),
    *(
        (f"tests/fixtures/snapshots/{one.name}.json", functools.partial(example_snapshot, one))
        for one in sorted((ROOT / "examples").iterdir())
        if (one / "mesh.yaml").exists()
    ),
    *(
        (f"tests/fixtures/compose/expected/{one.stem}{suffix}", functools.partial(make, one))
        for one in compose_fixtures.CORPUS
        for suffix, make in ((".yaml", compose_fixtures.mesh_file), (".notes", compose_fixtures.notes))
    ),
]


def unit_of(name: str) -> str:
    """The unit that a limit's name implies."""
    if name.endswith("_timeout"):
        return "seconds"
    return "octets" if name.endswith(("_bytes", "_window", "buffered_total")) else "count"


def main() -> int:
    """Writes, or with --check compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail where a file has drifted")
    check: bool = parser.parse_args().check
    drifted = 0
    for name, make in GENERATED:
        path = ROOT / name
        old = path.read_text() if path.exists() else ""
        new = make()
        if old == new:
            continue
        drifted += 1
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, f"{name} (as generated)")
            )
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(new)
            print(f"wrote {name}")
    if check and drifted:
        print(f"error: {drifted} generated file(s) have drifted; run `make gen`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
