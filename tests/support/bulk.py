"""What goes through pipes of the kernel: octets of which no part comes twice, and what the proxy has open for them."""

import contextlib
import fcntl
import os
import socket
import struct
import threading
from hashlib import sha256
from pathlib import Path

from tests.support.proxy_harness import Proxy, until
from tulle.proxy.pipes import MAX_IDLE, PIPE_BYTES

PIECE = os.urandom((1 << 20) - 4093)
BULK = b"".join(sha256(b"%d" % number).digest() for number in range(1 << 18))
"""8 MB, of which no part comes twice."""
LOOKS = 20
"""As many in a row that see the same: what a kernel still takes, it has taken by then."""
RESET = struct.pack("ii", 1, 0)


def pipes(proxy: Proxy) -> set[int]:
    """Pipes of the size that only bulk has, by inode: what is lent, and what lies idle."""
    found = set()
    for entry in Path(f"/proc/{proxy.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(entry.readlink()).startswith("pipe:"):
                end = os.open(entry, os.O_RDONLY | os.O_NONBLOCK)
                if fcntl.fcntl(end, fcntl.F_GETPIPE_SZ) == PIPE_BYTES:
                    found.add(os.fstat(end).st_ino)
                os.close(end)
    return found


def descriptors(proxy: Proxy) -> int:
    """How many are open."""
    return len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))


def settled(proxy: Proxy, rest: int) -> None:
    """Everything is over, and what was lent or held given back; `rest` descriptors were open before."""
    until(lambda: proxy.get("/connections") == [], "all is over")
    until(lambda: proxy.metrics().sum("tulle_buffered_bytes") == 0, "nothing is held")
    until(lambda: descriptors(proxy) <= rest + 2 * MAX_IDLE, "descriptors are closed")
    assert len(pipes(proxy)) <= MAX_IDLE


def pour_on(sock: socket.socket) -> None:
    """Sends until somebody ends it."""
    while True:
        sock.sendall(PIECE)


def pour_until(sock: socket.socket, enough: threading.Event) -> None:
    """Sends as much as is taken, until that is said."""
    sock.settimeout(0.05)
    while not enough.is_set():
        with contextlib.suppress(TimeoutError):
            sock.send(PIECE)


def held(proxy: Proxy) -> float:
    """Octets that wait for slow readers, in pipes too."""
    return proxy.metrics().sum("tulle_buffered_bytes")


def stalled(proxy: Proxy, sock: socket.socket, before: float = 0) -> float:
    """Waits until more than `before` octets are held for a caller who does not read, and they stay as many; returns how many."""
    sock.recv(1)

    def stays() -> bool:
        first = held(proxy)
        return first > before and all(held(proxy) == first for _ in range(LOOKS))

    until(stays, "the caller's kernel takes no more")
    return held(proxy)


def reset(sock: socket.socket) -> None:
    """Ends it by RST once it is closed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
