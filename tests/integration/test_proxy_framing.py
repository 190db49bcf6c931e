"""The framing table, row by row, against the proxy's socket; and what it makes of endpoints that frame badly."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.framing import REQUESTS, RESPONSES, RequestRow, ResponseRow
from tests.support.proxy_harness import Backends, Client, Proxy, dial, echo, host, one_service, read_all, read_head
from tulle.wire.snapshot import Limits, Protocol

LIMITS = Limits(header_bytes=32_768, header_count=100, target_bytes=8_192)


class Place:
    """A proxy in front of an endpoint whose answer a test chooses."""

    def __init__(self, proxy: Proxy, backends: Backends) -> None:
        self.answer = b""
        self.echo = proxy.door()
        self.chosen = proxy.door()
        self._proxy = proxy
        self.echo_port = backends.serve(echo)
        self.chosen_port = backends.serve(self._answer)

    def lead_to(self, port: int, generation: int) -> None:
        doors = {self.echo: Protocol.HTTP, self.chosen: Protocol.HTTP}
        self._proxy.put(one_service(doors, (host(port),), generation=generation, limits=LIMITS))

    def _answer(self, sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(self.answer)
        sock.shutdown(socket.SHUT_WR)
        read_all(sock)


SPOKEN = [row for row in REQUESTS if row.name != "preface of HTTP/2"]
"""The table for a socket: there a preface begins HTTP/2, which the proxy speaks."""


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    backends = Backends()
    with Proxy() as proxy:
        proxy.hand_over("synced", "")
        yield Place(proxy, backends)
    backends.close()


@pytest.fixture(scope="module")
def echoing(place: Place) -> int:
    place.lead_to(place.echo_port, 1)
    return place.echo


@pytest.fixture(scope="module")
def answering(place: Place) -> Place:
    place.lead_to(place.chosen_port, 2)
    return place


@pytest.mark.parametrize("row", SPOKEN, ids=lambda row: row.name)
def test_requests_are_answered_as_the_table_says(echoing: int, row: RequestRow) -> None:
    with Client(echoing) as client:
        client.send(row.wire)
        answers = tuple(client.read()[0] for _ in row.answers)
        assert answers == row.answers
        if row.answers[-1] != 200 or row.name.startswith("nothing behind"):
            assert client.is_closed()


@pytest.mark.parametrize("row", SPOKEN, ids=lambda row: row.name)
def test_requests_cut_into_octets_are_answered_alike(echoing: int, row: RequestRow) -> None:
    with Client(echoing) as client:
        cut = len(row.wire) // 2
        client.send(row.wire[:cut])
        client.send(row.wire[cut:])
        assert tuple(client.read()[0] for _ in row.answers) == row.answers


@pytest.mark.parametrize("row", RESPONSES, ids=lambda row: row.name)
def test_answers_of_endpoints_are_judged(answering: Place, row: ResponseRow) -> None:
    answering.answer = row.wire
    with dial(answering.chosen) as sock:
        sock.sendall(f"{row.method} / HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n".encode())
        try:
            got = read_all(sock)
        except ConnectionResetError:
            got = b""
    if row.payload is None:
        is_refused = got.startswith(b"HTTP/1.1 502 ") and b"x-tulle-reason: upstream-" in got
        assert is_refused or not is_whole(got), got
    else:
        status = row.wire.split(b" ")[1][:3]
        assert got.startswith(b"HTTP/1.1 " + status), got
        assert is_whole(got) and row.payload in got


def is_whole(answer: bytes) -> bool:
    """Whether a client would take it for complete."""
    head, ended, body = answer.partition(b"\r\n\r\n")
    if not ended:
        return False
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return body.endswith(b"\r\n\r\n")
    if b"content-length: " in lower and not lower.startswith(b"http/1.1 304"):
        length = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
        return len(body) == length or not body
    return True
