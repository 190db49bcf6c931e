"""Octets of resident memory for each idle connection of a caller: `python -m benchmarks.idle [COUNT [PROTOCOL]]`; PYTHONPATH=build/compiled for the compiled proxy.

Each connection has had one request answered, by a backend behind one kept connection, and then says nothing. The kernel's buffers are not counted.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import Final

from tests.support.h2_peer import get
from tests.support.proxy_harness import Proxy, backend_process, dial, host, one_service, until
from tulle.http.h2.frames import PREFACE, frame
from tulle.wire.snapshot import Limits, Protocol

COUNT: Final = 10_000
BATCH: Final = 250
HTTP1: Final = b"GET / HTTP/1.1\r\nhost: shop\r\nuser-agent: bench\r\naccept: */*\r\n\r\n"
HTTP2: Final = PREFACE + frame(4, 0, 0, b"") + frame(4, 1, 0, b"") + get(1)
PROTOCOLS: Final = {"HTTP/1.1": HTTP1, "HTTP/2": HTTP2}
BODY: Final = b"hello"


def octets_each(request: bytes, ends: bytes, count: int) -> int:
    """Resident octets that a connection adds, once a first batch has warmed the proxy up."""
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(Proxy())
        backend = stack.enter_context(backend_process(BODY.decode()))
        door = proxy.door()
        limits = Limits(connections=1 << 20, connections_per_caller=1 << 20)
        proxy.put(one_service({door: Protocol.HTTP}, (host(backend),), limits=limits, speaks=Protocol.HTTP))
        proxy.hand_over("synced", "")
        _open(stack, door, BATCH, request, ends)
        before = proxy.resident_bytes()
        for _ in range(count // BATCH):
            _open(stack, door, BATCH, request, ends)
        until(lambda: bool(proxy.get("/status")["connections"] == count + BATCH), "all are open")
        return (proxy.resident_bytes() - before) // count


def _open(stack: contextlib.ExitStack, door: int, count: int, request: bytes, ends: bytes) -> None:
    opened: list[socket.socket] = []
    for _ in range(count):
        sock = stack.enter_context(dial(door))
        sock.sendall(request)
        opened.append(sock)
    for sock in opened:
        seen = b""
        while ends not in seen:
            read = sock.recv(4096)
            if not read:
                raise SystemExit(f"closed after {seen!r}")
            seen += read


def main() -> None:
    """Prints a line for each protocol."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    for name in sys.argv[2:] or PROTOCOLS:
        print(f"{name:9}{octets_each(PROTOCOLS[name], BODY, count):7} octets for each of {count} idle connections")


if __name__ == "__main__":
    main()
