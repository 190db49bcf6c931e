"""Every row of every document beside this file, judged by the real compiler and the real evaluator."""

from collections import Counter
from functools import cache
from math import lcm
from pathlib import Path

import pytest

from tests.support.documents import Row, caller_of, mesh_of, port_of, request_of, rows_of
from tulle.core.authority import named_port
from tulle.core.authorize import Allow, judge
from tulle.core.balance import pick_backend
from tulle.core.request import canonical_host
from tulle.core.route import match_route
from tulle.core.tables import Tables
from tulle.http.forward import NOT_FORWARDED, parse_forwarded
from tulle.http.head import Limits, Refusal
from tulle.http.request import read_authority

DOCUMENTS = sorted(Path(__file__).parent.glob("*.md"))

compiled = cache(mesh_of)


def cases(column: str) -> list[object]:
    """The rows with this column, named by document and line."""
    return [
        pytest.param(document, row, id=f"{document.stem}:{row.line}")
        for document in DOCUMENTS
        for row in rows_of(document, column)
    ]


@pytest.mark.parametrize(("document", "row"), cases("verdict"))
def test_verdict(document: Path, row: Row) -> None:
    assert judged(compiled(document), row.cells) == row.cells["verdict"]


@pytest.mark.parametrize(("document", "row"), cases("by"))
def test_verdict_names_its_policy(document: Path, row: Row) -> None:
    tables, cells = compiled(document), row.cells

    verdict = judge(port_of(tables, cells["to"]), caller_of(tables, cells["from"]), request_of(cells["request"]))

    assert (verdict.by or "–") == cells["by"]


@pytest.mark.parametrize(("document", "row"), cases("route"))
def test_route(document: Path, row: Row) -> None:
    request = request_of(row.cells["request"])
    assert request is not None

    route = match_route(port_of(compiled(document), row.cells["to"]), request)

    assert (route.name if route else "no-route") == row.cells["route"]


@pytest.mark.parametrize(("document", "row"), cases("shares"))
def test_shares_are_exact_over_every_roll(document: Path, row: Row) -> None:
    port, request = port_of(compiled(document), row.cells["to"]), request_of(row.cells["request"])
    route = port.opaque if request is None else match_route(port, request)
    assert route is not None
    space = lcm(route.total or 1, 100)

    picked = Counter(pick_backend(route, roll) for roll in range(space))

    shares = ", ".join(f"{b.name} {100 * n / space:g} %" if b else "no-backend" for b, n in picked.items())
    assert shares == row.cells["shares"]


@pytest.mark.parametrize(("document", "row"), cases("means"))
def test_authority_means_a_service_port(document: Path, row: Row) -> None:
    tables, asked = compiled(document), row.cells["asked for"]
    authority = read_authority(asked.encode())
    if authority is None:
        assert row.cells["means"] == "400"
        return
    host = canonical_host(authority.host)
    port = authority.port if authority.port >= 0 else 80
    caller = caller_of(tables, row.cells["from"])

    found = named_port(tables, caller, host, port) if host is not None else None

    assert (f"{found.service}:{found.port}" if found is not None else "no-service") == row.cells["means"]
    if found is not None:
        assert named_port(tables, caller, found.address, found.port) is found


@pytest.mark.parametrize("way", ["by address", "by path"])
@pytest.mark.parametrize(("document", "row"), cases("by path"))
def test_target_names_a_host_or_host_does(document: Path, row: Row, way: str) -> None:
    fields = "".join(f"{field.strip()}\r\n" for field in row.cells["fields"].split(";") if field)
    octets = f"{row.cells['request line']}\r\n{fields}\r\n".encode()

    head = parse_forwarded(octets, Limits(), takes_host=way == "by path")

    if isinstance(head, Refusal):
        found = "origin-form" if head is NOT_FORWARDED else str(head.status)
    else:
        found = head.host if head.port < 0 else f"{head.host}:{head.port}"
    assert found == row.cells[way]


@pytest.mark.parametrize(("document", "row"), cases("forwarded"))
def test_forwarded_path(document: Path, row: Row) -> None:
    try:
        request = request_of(f"GET {row.cells['path']}")
    except ValueError:
        assert row.cells["forwarded"] == "400"
        return
    assert request is not None
    assert (request.path, request.folded) == (row.cells["forwarded"], row.cells["also judged as"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_document_has_rows(document: Path) -> None:
    assert any(rows_of(document, column) for column in ("verdict", "route", "shares", "means"))


def judged(tables: Tables, cells: dict[str, str]) -> str:
    """What becomes of a call, in the words of the documents."""
    try:
        request = request_of(cells["request"])
    except ValueError:
        return "400"
    verdict = judge(port_of(tables, cells["to"]), caller_of(tables, cells["from"]), request)
    if isinstance(verdict, Allow):
        return "allow"
    return f"passes, counted as {verdict.reason.code}" if tables.shadow else verdict.reason.code
