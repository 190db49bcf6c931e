"""Listening sockets: non-blocking, and not inherited by what is executed."""

import contextlib
import os
import socket

_PORT_BACKLOG, _PATH_BACKLOG = 4096, 64
_FLAGS = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK


def listen_at_port(host: str, port: int, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """Listens at an address and port; at `::` for both families. Raises OSError."""
    listener = socket.socket(family, _FLAGS)
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # What a listener that was here has left in TIME_WAIT does not count; another listener does, whatever it says.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits it
        listener.bind((host, port))
        listener.listen(_PORT_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def listen_at_path(path: str, *, is_for_all: bool = False) -> socket.socket:
    """A fresh unix socket, which from the first moment on only its owner may dial, or anyone; what lay there is removed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  (the supervisor has no use for pathlib)
    listener = socket.socket(socket.AF_UNIX, _FLAGS)
    mask = os.umask(0o111 if is_for_all else 0o177)
    try:
        listener.bind(path)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    listener.listen(_PORT_BACKLOG if is_for_all else _PATH_BACKLOG)
    return listener
