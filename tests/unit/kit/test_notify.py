"""What a process says to its unit is what sd_notify(3) asks for, and nobody else may say it."""

import os
import socket
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tulle.kit.notify import Unit

Tell = Callable[[MutableMapping[str, str]], Unit]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5.0)
        yield sock


@pytest.fixture
def tell() -> Iterator[Tell]:
    with ExitStack() as stack:
        yield lambda environment: stack.enter_context(closing(Unit(environment)))


def address(manager: socket.socket) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname()}


def test_each_word_is_a_datagram_and_a_status_is_said_once(manager: socket.socket, tell: Tell) -> None:
    unit = tell(address(manager))

    unit.ready()
    unit.status("1 of 2 pods ready")
    unit.status("1 of 2 pods ready")
    unit.alive()
    unit.stopping()

    heard = [manager.recv(4096) for _ in range(4)]
    assert heard == [b"READY=1", b"STATUS=1 of 2 pods ready", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_name_that_is_no_path_is_reached(tell: Tell) -> None:
    name = f"tulle-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(5.0)

        tell({"NOTIFY_SOCKET": f"@{name}"}).ready()

        assert sock.recv(100) == b"READY=1"


def test_nothing_that_is_started_inherits_the_say(manager: socket.socket, tell: Tell) -> None:
    environment = {**address(manager), "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid()), "PATH": "/bin"}

    unit = tell(environment)

    assert environment == {"PATH": "/bin"}
    assert unit.watchdog_seconds == 60.0


def test_another_process_is_watched_not_this_one(manager: socket.socket, tell: Tell) -> None:
    environment = {**address(manager), "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}

    assert tell(environment).watchdog_seconds == 0.0


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/no/such/socket"}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_where_nobody_listens_nothing_happens(environment: dict[str, str], tell: Tell) -> None:
    unit = tell(environment)

    unit.ready()

    assert not unit.listens


def test_a_manager_that_has_gone_ends_nothing(manager: socket.socket, tell: Tell) -> None:
    unit = tell(address(manager))
    manager.close()

    unit.ready()

    assert unit.listens
