"""Every row of the table beside this file, received whole and octet by octet."""

from pathlib import Path

import pytest

from tests.support.documents import Row, rows_of
from tests.support.h2_reading import CLIENT, Recorder, reaction_in
from tests.support.h2_script import octets_of
from tulle.http.h2.frames import CANCEL, PREFACE, frame
from tulle.http.h2.limits import Http2Limits
from tulle.http.head import Limits

TABLE = Path(__file__).with_name("frames.md")
LIMITS = Http2Limits(Limits(), streams=4, extended_connect=True)
SETTINGS = frame(4, 0, 0)


def rows(column: str) -> list[object]:
    return [pytest.param(row, id=f"{row.cells['§']}:{row.line}") for row in rows_of(TABLE, column)]


def pieces(octets: bytes, whole: bool) -> list[bytes]:
    size = len(octets) if whole else 1 if len(octets) < 2_000 else 997
    return [octets[at : at + size] for at in range(0, len(octets), size)]


def served(recorder: Recorder, whole: bool) -> str:
    """The reaction so far; where the connection lives, a further request must be served."""
    reaction = reaction_in(recorder.sent)
    refused = [event for event in recorder.events if event[0] == "refused" and event[2] != 400]
    if refused:
        reaction = f"status {refused[0][2]}"
    if not reaction.startswith("connection"):
        for stream in recorder.streams.values():
            recorder.connection.reset(stream, CANCEL)
        recorder.read(pieces(octets_of("HEADERS 101 ES EH {get, x-probe=1}"), whole))
        assert recorder.events[-1][:2] == ("request", 101)
    return reaction


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
@pytest.mark.parametrize("row", rows("sent raw"))
def test_first_octets(row: Row, whole: bool) -> None:
    recorder = Recorder(limits=LIMITS).read(pieces(octets_of(row.cells["sent raw"]), whole))

    assert served(recorder, whole) == row.cells["reaction"]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
@pytest.mark.parametrize("row", rows("sent"))
def test_reaction(row: Row, whole: bool) -> None:
    recorder = Recorder(limits=LIMITS).read([PREFACE + SETTINGS])

    recorder.read(pieces(octets_of(row.cells["sent"]), whole))

    assert served(recorder, whole) == row.cells["reaction"]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
@pytest.mark.parametrize("row", rows("answered"))
def test_reaction_of_a_client(row: Row, whole: bool) -> None:
    recorder = Recorder(CLIENT).read([SETTINGS])
    connection = recorder.connection
    fields = recorder.fields((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"shop"))
    connection.open(fields, "GET", True)
    connection.open(fields, "HEAD", True)
    connection.open(fields, "POST", False)

    recorder.read(pieces(octets_of(row.cells["answered"]), whole))

    reaction = reaction_in(recorder.sent)
    assert reaction == row.cells["reaction"]
    if connection.can_open:
        stream = connection.open(fields, "GET", True)
        recorder.read(pieces(octets_of(f"HEADERS {stream.id} ES EH {{ok, x-probe=1}}"), whole))
        assert recorder.events[-1][:3] == ("response", stream.id, 200)
    else:
        assert reaction.startswith("connection") or ("goaway", "NO_ERROR", False, "") in recorder.events


def test_table_is_large_enough() -> None:
    assert len([*rows_of(TABLE, "sent raw"), *rows_of(TABLE, "sent"), *rows_of(TABLE, "answered")]) >= 120
