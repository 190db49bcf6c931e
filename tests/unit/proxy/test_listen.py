import select
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tulle.core.backends import EndpointRef
from tulle.proxy.arrival import Register
from tulle.proxy.connecting import accept_now
from tulle.proxy.counters import Counters
from tulle.proxy.listen import Listener
from tulle.proxy.loop import Dispatcher
from tulle.proxy.relay import Relay


def never(endpoint: EndpointRef, arrive: Callable[[socket.socket | None], None]) -> None:
    """Dials nothing."""
    raise AssertionError(endpoint)


def await_readable(sock: socket.socket) -> None:
    """By TCP a connection may be there for its caller a moment before it is for the listener."""
    assert select.select([sock], [], [], 20)[0]


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET6, ("::1", 0)), (socket.AF_UNIX, "")]
)
def test_what_is_accepted_does_not_block_and_is_nobody_elses(
    family: socket.AddressFamily, address: tuple[str, int] | str, tmp_path: Path
) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as listener, socket.socket(family, socket.SOCK_STREAM) as caller:
        listener.bind(address or str(tmp_path / "sock"))
        listener.listen()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            accept_now(listener, int(family))
        caller.connect(listener.getsockname())
        await_readable(listener)
        sock, peer = accept_now(listener, int(family))
        with sock:
            assert peer == caller.getsockname()
            assert sock.family == family
            assert not sock.getblocking()
            assert not sock.get_inheritable()
            caller.sendall(b"hello")
            await_readable(sock)
            assert sock.recv(10) == b"hello"


def test_what_a_listener_accepts_waits_for_no_acknowledgement() -> None:
    dispatcher = Dispatcher(print)
    sock = socket.create_server(("127.0.0.1", 0))
    Listener(Relay(dispatcher, Counters()), Register(), never, sock, "", 8000)
    with sock, socket.create_connection(sock.getsockname()):
        await_readable(sock)
        accepted, _ = accept_now(sock, int(socket.AF_INET))
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    dispatcher.epoll.close()
