"""Pods on a real supervisor, as root and as an ordinary user: they start, speak, end, come back and stop."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.supervised import RUNNERS, Supervised, supervised
from tulle.wire.plan import Readiness

ECHO = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"echo " + connection.recv(100))
    connection.close()
"""


pytestmark = pytest.mark.user


@pytest.fixture(params=RUNNERS)
def mesh(request: pytest.FixtureRequest) -> Iterator[Supervised]:
    with supervised(request.param) as one:
        yield one


def test_a_pod_is_ready_once_its_port_answers(mesh: Supervised) -> None:
    mesh.apply(mesh.pod("default/echo", mesh.python, "-c", ECHO, "0.0.0.0", "80", readiness=Readiness(80)))

    mesh.await_state("default/echo", "ready")
    mesh.await_told("pod", "default/echo")
    mesh.await_told("ready", "default/echo")

    assert mesh.ask("dial", pod="default/echo", port=80, text="hello") == "echo hello"


def test_a_service_on_ipv6_alone_is_found_ready(mesh: Supervised) -> None:
    mesh.apply(mesh.pod("default/echo", mesh.python, "-c", ECHO, "::1", "8080", readiness=Readiness(8080)))

    mesh.await_state("default/echo", "ready")

    assert mesh.ask("dial", pod="default/echo", port=8080, text="six", family=6) == "echo six"


def test_what_a_pod_dials_arrives_at_its_own_listener(mesh: Supervised) -> None:
    dial = "import socket; c = socket.create_connection(('orders', 80), 10); print('heard', c.recv(100).decode())"
    mesh.apply(
        mesh.pod("default/web", mesh.python, "-uc", dial),
        hosts={"default": "127.0.0.1 localhost\n127.80.3.4 orders\n"},
    )
    mesh.await_told("pod", "default/web")

    arrived = mesh.ask("accept", name="default/web", reply="proxy")

    assert arrived == {"meant": ["127.80.3.4", 80], "at": ["127.0.0.1", 15001]}
    mesh.await_line("default/web", "heard proxy")
