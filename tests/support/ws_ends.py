"""WebSocket by PyPI `websockets` at both ends, over HTTP/1.1 as it does it, over HTTP/2 by extended CONNECT."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from websockets.exceptions import ConnectionClosed
from websockets.protocol import Protocol, Side
from websockets.sync.client import connect
from websockets.sync.connection import Connection
from websockets.sync.server import ServerConnection, serve

from tests.support.h2_tunnels import H2Endpoint, H2Link, Tunnel, dial_h2
from tests.support.proxy_harness import DEADLINE, Backends, until

CLOSE = "close with "
"""A message that asks the endpoint to close, with the code that follows."""


def converse(talk: Connection) -> None:
    """Echoes; closes with a code when it is told to."""
    with contextlib.suppress(ConnectionClosed):
        for message in talk:
            if isinstance(message, str) and message.startswith(CLOSE):
                talk.close(int(message.removeprefix(CLOSE)))
            else:
                talk.send(message)


def over(sock: socket.socket, side: Side) -> Connection:
    """A WebSocket on octets whose handshake is done."""
    sock.settimeout(None)
    return Connection(sock, Protocol(side, max_size=None), ping_interval=None)


def over_client(sock: socket.socket) -> Connection:
    """A caller's WebSocket on such octets."""
    return over(sock, Side.CLIENT)


@contextlib.contextmanager
def websocket_server(handle: Callable[[ServerConnection], None] = converse) -> Iterator[int]:
    """`websockets` itself, on a port of its own."""
    with serve(handle, "127.0.0.1", 0, max_size=None, ping_interval=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield int(server.socket.getsockname()[1])
        server.shutdown()
        thread.join(DEADLINE)


@contextlib.contextmanager
def endpoint(protocol: str, backends: Backends, handle: Callable[[Connection], None] = converse) -> Iterator[int]:
    """One that serves so: `h1` or `h2`."""
    if protocol == "h1":
        with websocket_server(handle) as port:
            yield port
    else:
        served = H2Endpoint(lambda sock: handle(over(sock, Side.SERVER)))
        yield backends.serve(served)


class Caller:
    """A WebSocket through a door."""

    def __init__(self, talk: Connection, link: H2Link | None = None, tunnel: Tunnel | None = None) -> None:
        self.talk = talk
        self.link = link
        self.tunnel = tunnel

    def break_off(self) -> None:
        """As by a killed process."""
        if self.link is not None:
            self.link.close()
        else:
            self.talk.socket.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def caller(protocol: str, door: int, path: str = "/chat") -> Iterator[Caller]:
    """One that has its WebSocket: `h1` or `h2`."""
    if protocol == "h1":
        with connect(
            f"ws://127.0.0.1:{door}{path}",
            max_size=None,
            compression=None,
            proxy=None,
            ping_interval=None,
            open_timeout=DEADLINE,
        ) as talk:
            yield Caller(talk)
        return
    with dial_h2(door) as link:
        tunnel = link.open(path=path)
        answer = link.answered(tunnel)
        assert answer[":status"] == "200", answer
        with over_client(tunnel.sock) as talk:
            yield Caller(talk, link, tunnel)
        until(lambda: tunnel.is_over or link.is_closed, "both halves of the stream are over")
