"""Reads a spec document: what its YAML compiles to, and the rows of its tables."""

from pathlib import Path
from typing import NamedTuple

from tulle import compiler, manifest
from tulle.core.policies import ANONYMOUS, CallerRef
from tulle.core.request import RequestView, canonical_host, canonical_path
from tulle.core.tables import ServicePortTable, Tables, build_tables


class Row(NamedTuple):
    """A row of a table, by its header."""

    line: int
    cells: dict[str, str]


def mesh_of(document: Path) -> Tables:
    """Compiles all `yaml` blocks of a document together, as the agent would. Raises ValueError with their problems."""
    loaded = manifest.parse({f"{document.stem}-{n}.yaml": text for n, text in enumerate(_blocks(document))})
    problems = loaded if isinstance(loaded, list) else []
    if isinstance(loaded, manifest.Loaded):
        compiled = compiler.compile_mesh(loaded.resources, compiler.Facts(generation=1))
        if isinstance(compiled, compiler.Compiled):
            return build_tables(compiled.snapshot)
        problems = compiled
    raise ValueError("\n".join(str(problem) for problem in problems))


def rows_of(document: Path, column: str) -> list[Row]:
    """The rows of every table that has this column."""
    rows: list[Row] = []
    header: list[str] = []
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if not line.startswith("|"):
            header = []
            continue
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if not header:
            header = cells
        elif column in header and set(cells[0]) - set("-: "):
            rows.append(Row(number, dict(zip(header, cells, strict=True))))
    return rows


def caller_of(tables: Tables, name: str) -> CallerRef:
    """`anonymous`, or a workload; of namespace `default` unless said."""
    return ANONYMOUS if name == "anonymous" else tables.callers[_qualified(name)]


def port_of(tables: Tables, name: str) -> ServicePortTable:
    """`service`, `namespace/service` or either with `:port`; the first port unless said."""
    service, colon, port = _qualified(name).partition(":")
    if colon:
        return tables.by_name[service, int(port)]
    return next(table for (owner, _), table in tables.by_name.items() if owner == service)


def request_of(text: str) -> RequestView | None:
    """`GET /path`, then `name=value` for headers (`host` is one); None for `tcp`. Raises ValueError: a 400."""
    if text == "tcp":
        return None
    method, target, *fields = text.split()
    headers = [(name.encode(), value.encode()) for name, _, value in (field.partition("=") for field in fields)]
    readings = canonical_path(target.partition("?")[0])
    host = canonical_host(dict(headers).get(b"host", b"service"))
    if readings is None or host is None:
        raise ValueError(f"not a request: {text}")
    return RequestView(method, *readings, host, headers)


def _qualified(name: str) -> str:
    return name if "/" in name else f"default/{name}"


def _blocks(document: Path) -> list[str]:
    blocks: list[str] = []
    inside = False
    for line in document.read_text().splitlines(keepends=True):
        if line.startswith("```"):
            inside = line.strip() == "```yaml"
            if inside:
                blocks.append("")
        elif inside:
            blocks[-1] += line
    return blocks
