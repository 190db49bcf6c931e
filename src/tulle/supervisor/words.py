"""What a pod's pid 1 and the supervisor say to each other: one datagram each, parts separated by NUL.

What comes from a pod is taken as a claim about that pod: known words only, text without control characters.
"""

import os
import socket

MADE = "made"
"""pid of process 1 on the host, way; with the network namespace and the listener."""
ADDRESS = "address"
"""`127.80.x.y:port`: with a listener there."""
TAKEN = "taken"
"""`127.80.x.y:port`, reason: no listener can be there."""
GO = "go"
"""To process 1: its parent is the supervisor now."""
IMPOSSIBLE = "impossible"
"""step, reason: this box refused."""
CANNOT = "cannot"
"""reason: the service's program could not be executed."""
PULLING = "pulling"
"""image: it is fetched first."""
NOTE = "note"
"""what: a person should know it, though the service runs."""
STARTED = "started"
READY = "ready"
SLOW = "slow"
"""Not ready in time, and why; still asked."""
UNREADY = "unready"
"""It was ready and is no more, and why; still asked."""
EXIT = "exit"
"""How the service ended."""

_LIMIT = 1024
_KNOWN = frozenset((MADE, ADDRESS, TAKEN, IMPOSSIBLE, CANNOT, PULLING, NOTE, STARTED, READY, SLOW, UNREADY, EXIT))


def send(link: socket.socket, *parts: str, descriptors: tuple[int, ...] = ()) -> None:
    """Says something; nobody there to hear it is no error."""
    message = "\0".join(parts).encode("utf-8", "replace")[:_LIMIT]
    try:
        socket.send_fds(link, [message], list(descriptors))
    except OSError:
        return


def receive_plain(link: socket.socket) -> str:
    """Waits for a word without descriptors; empty at the end."""
    return link.recv(_LIMIT).decode("utf-8", "replace")


def receive(link: socket.socket) -> tuple[list[str], list[int]] | None:
    """What a pod said, with descriptors; None at the end. Raises BlockingIOError, and ValueError for an unknown word."""
    message, descriptors, _, _ = socket.recv_fds(link, _LIMIT, 4)
    if not message:
        return None
    parts = ["".join(c if c.isprintable() else "?" for c in p) for p in message.decode("utf-8", "replace").split("\0")]
    if parts[0] not in _KNOWN:
        for one in descriptors:
            os.close(one)
        raise ValueError(f"unknown word {parts[0]!r} from a pod")
    return parts, descriptors
