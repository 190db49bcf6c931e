"""Two proxies, one of which takes the other's place, with the test where the supervisor is."""

import contextlib
import json
import socket
from collections.abc import Iterator

from tests.support.proxy_harness import DEADLINE, Metrics, Proxy


@contextlib.contextmanager
def successor(old: Proxy) -> Iterator[Proxy]:
    """A proxy with the old one's doors and memory, that serves; the old one does not know of it."""
    with Proxy(memory=old.memory, options=("--successor",)) as new:
        for port, sock in old.doors.items():
            new.hand_over("door", str(port), sock)
        new.hand_over("synced", "")
        assert word(new) == "serving"
        yield new


def join(old: Proxy, new: Proxy, seconds: float = DEADLINE) -> None:
    """The old one is told to end within so many seconds, and the two are joined."""
    theirs, ours = socket.socketpair()
    with theirs, ours:
        old.hand_over("retire", f"{seconds:g}", theirs)
        new.hand_over("inherit", "", ours)


def word(proxy: Proxy) -> str:
    """What it says next to the supervisor."""
    proxy.control.settimeout(DEADLINE)
    said: str = json.loads(proxy.control.recv(4096))["kind"]
    return said


def scraped(proxy: Proxy) -> Metrics:
    """What Prometheus gets, on a connection of its own."""
    with socket.create_connection(("127.0.0.1", proxy.metrics_port), DEADLINE) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    head, _, text = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return Metrics(text.decode())
