"""A reader of the proxy's `/tap`."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.proxy_harness import DEADLINE, Proxy, read_head


class Tap:
    """What was told since the head of the answer came; read when it is asked for."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.head, self.read = read_head(sock)

    def told(self, count: int = 1) -> list[dict[str, Any]]:
        """Waits until so many summaries are there."""
        while self.read.count(b"}\n") < count:
            self.more()
        return self.documents()

    def more(self) -> None:
        """Reads on."""
        octets = self.sock.recv(65536)
        assert octets, "the proxy ended it"
        self.read += octets

    def documents(self) -> list[dict[str, Any]]:
        """The summaries so far: JSON lines of a chunked answer."""
        return [json.loads(line) for line in self.read.splitlines() if line.startswith(b"{") and line.endswith(b"}")]


@contextmanager
def tapping(proxy: Proxy, query: str = "") -> Iterator[Tap]:
    """Listens from now on."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(str(proxy.admin_path))
        sock.sendall(f"GET /tap{query} HTTP/1.1\r\nhost: tulle\r\n\r\n".encode())
        yield Tap(sock)
