"""Every row of the table beside this file, asked of the real proxy in each protocol, of endpoints of each protocol."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from h2.events import RequestReceived

from tests.support.documents import Row, rows_of
from tests.support.h2_ends import Caller, Endpoint, answers
from tests.support.proxy_harness import Backends, Client, Proxy, host, ok, one_service, requests, until
from tulle.wire.snapshot import Protocol

TABLE = Path(__file__).with_name("trace_context.md")
NAMES = {"p": "traceparent", "s": "tracestate"}
NEW = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-00")

Fields = list[tuple[str, str]]


class Mesh:
    """A proxy with doors to endpoints of either protocol; `ask` says what came there."""

    def __init__(self, proxy: Proxy, backends: Backends) -> None:
        self.doors: dict[str, int] = {}
        self._came: list[Fields] = []
        self._http2 = Endpoint(answers)

        def http(sock: socket.socket) -> None:
            for head, _ in requests(sock):
                lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line]
                self._came.append([(line[0].lower(), line[1]) for line in lines])
                sock.sendall(ok(b""))

        self._proxy = proxy
        self._at = {"http": backends.serve(http), "http2": backends.serve(self._http2)}
        self.door = proxy.door()
        self._generation = 0

    def speak(self, protocol: str) -> None:
        """Endpoints speak this from now on."""
        self._generation += 1
        speaks = Protocol(protocol)
        self._proxy.put(
            one_service({self.door: speaks}, (host(self._at[protocol]),), generation=self._generation, speaks=speaks)
        )

    def seen(self) -> list[Fields]:
        """The heads that came to endpoints."""
        streams = [
            [(bytes(name).decode(), bytes(value).decode()) for name, value in event.headers or ()]
            for event in self._http2.seen(RequestReceived)
        ]
        return self._came + streams


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    backends = Backends()
    with Proxy() as proxy:
        proxy.hand_over("synced", "")
        yield Mesh(proxy, backends)
    backends.close()


@pytest.fixture(scope="module", params=["http", "http2"])
def speaking(request: pytest.FixtureRequest, mesh: Mesh) -> Mesh:
    """Endpoints of either protocol."""
    mesh.speak(request.param)
    return mesh


@pytest.mark.parametrize("caller", ["http", "http2"])
@pytest.mark.parametrize("row", [pytest.param(row, id=f"trace_context:{row.line}") for row in rows_of(TABLE, "came")])
def test_trace_context(speaking: Mesh, caller: str, row: Row) -> None:
    came = fields_of(row.cells["came"])
    before = len(speaking.seen())

    if caller == "http":
        with Client(speaking.door) as client:
            assert client.get("/", *(f"{name}: {value}" for name, value in came))[0] == 200
    else:
        with Caller(speaking.door) as h2:
            assert h2.end(h2.ask("/", *came))[":status"] == "200"
    until(lambda: len(speaking.seen()) > before, "the endpoint was asked")

    [head] = speaking.seen()[before:]
    went = [(name, value) for name, value in head if name in NAMES.values()]
    if row.cells["goes on"] == "new":
        [(name, value)] = went
        found = NEW.fullmatch(value)
        assert name == "traceparent"
        assert found
        assert found[1] not in row.cells["came"]
        assert found[1].strip("0")
    else:
        assert went == fields_of(row.cells["goes on"])


def fields_of(cell: str) -> Fields:
    """`p=value; s=value` in full."""
    fields: Fields = []
    for part in cell.split(";") if cell != "–" else ():
        name, _, value = part.strip().partition("=")
        value = re.sub(r"\bT\b", "0af7651916cd43dd8448eb211c80319c", value)
        fields.append((NAMES[name], re.sub(r"\bP\b", "b7ad6b7169203331", value)))
    return fields
