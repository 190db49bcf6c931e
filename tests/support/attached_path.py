"""The forward proxy at a path, beside a service at an address, and callers of several users and control groups there."""

import contextlib
import ctypes
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.attached import Actor
from tests.support.attached_mesh import AttachedMesh, State, status_of
from tests.support.proxy_harness import Proxy
from tulle.kit.namespaces import NEWNET, NEWUSER

LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def listening(proxy: Proxy) -> Iterator[str]:
    """A listener that anyone may dial, handed over; its path."""
    with open_directory() as directory, socket.socket(socket.AF_UNIX) as listener:
        path = str(directory / "proxy.sock")
        listener.bind(path)
        Path(path).chmod(0o666)
        listener.listen(1024)
        proxy.hand_over("forward", path, listener)
        yield path


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A directory in which anyone may make a socket."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o777)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def request_to(mesh: AttachedMesh) -> bytes:
    """As a program sends it that knows nothing of proxies."""
    return f"GET / HTTP/1.1\r\nhost: orders:{mesh.port}\r\n\r\n".encode()


def ask_at(mesh: AttachedMesh, path: str, actor: Actor) -> int:
    """The status that this process gets, on a connection of its own."""
    return int(actor.run(get_at, path, request_to(mesh)))


def get_at(state: State, path: str, request: bytes) -> int:
    """One request on a connection of its own; the status."""
    connect_at(state, "once", path)
    with state.pop("once") as sock:
        return status_of(sock, request)


def make_at(state: State, name: str) -> None:
    """A socket, not connected yet."""
    state[name] = socket.socket(socket.AF_UNIX)
    state[name].settimeout(20)


def connect_at(state: State, name: str, path: str, octets: bytes = b"") -> None:
    """Connects and keeps the socket under a name."""
    if name not in state:
        make_at(state, name)
    state[name].connect(path)
    if octets:
        state[name].sendall(octets)


def await_socket(state: State, path: str) -> None:
    """Listens where a socket is to be handed on."""
    state["desk"] = socket.socket(socket.AF_UNIX)
    state["desk"].bind(path)
    state["desk"].listen()
    Path(path).chmod(0o666)


def hand_on(state: State, name: str, path: str) -> None:
    """Passes a socket to whoever listens there, and keeps none."""
    with socket.socket(socket.AF_UNIX) as line, state.pop(name) as sock:
        line.connect(path)
        socket.send_fds(line, [b"."], [sock.fileno()])


def take_over(state: State, name: str) -> None:
    """Takes one that was passed."""
    line, _ = state["desk"].accept()
    with line:
        _, (descriptor,), _, _ = socket.recv_fds(line, 1, 1)
    state[name] = socket.socket(fileno=descriptor)
    state[name].settimeout(20)


def move_other(state: State, pid: int, group: Path) -> None:
    """Another process goes to that control group."""
    (group / "cgroup.procs").write_text(str(pid))


def become_root_of_nothing(state: State) -> None:
    """Root in a user namespace of its own."""
    outside = os.getuid()
    LIBC.prctl(4, 1, 0, 0, 0)  # dumpable again, or /proc/self is root's
    assert LIBC.unshare(NEWUSER) == 0, os.strerror(ctypes.get_errno())
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {outside} 1")


def leave_network() -> None:
    """This process is in a network of its own from now on."""
    assert LIBC.unshare(NEWNET) == 0
