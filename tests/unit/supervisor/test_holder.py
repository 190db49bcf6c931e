"""Who has a port: asked of the real kernel."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tulle.supervisor.holder import holder_of, holders_of

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


@pytest.mark.parametrize(("family", "address"), FAMILIES)
def test_a_listening_program_is_named(family: socket.AddressFamily, address: str) -> None:
    with socket.create_server((address, 0), family=family) as listener:
        comm = Path("/proc/self/comm").read_text().strip()

        assert holder_of(listener.getsockname()[1]) == f"{comm} (pid {os.getpid()})"


def test_a_port_that_nobody_listens_at_has_no_holder() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))

        assert holder_of(bound.getsockname()[1]) == ""


def test_a_virtual_address_holds_no_port_of_an_attached_service() -> None:
    with socket.create_server(("127.80.3.4", 0)) as listener:
        port = listener.getsockname()[1]

        assert holder_of(port) != ""
        assert holder_of(port, virtual=False) == ""


def test_the_holders_of_many_ports_are_told_at_once() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.socket() as bound,
    ):
        bound.bind(("127.0.0.1", 0))
        ports = [held.getsockname()[1] for held in (one, other, bound)]

        found = holders_of(ports)

    assert found == dict.fromkeys(ports[:2], found[ports[0]])
    assert f"(pid {os.getpid()})" in found[ports[0]]


def test_where_no_port_is_taken_nothing_is_read() -> None:
    script = """
import sys
from tulle.supervisor.holder import holders_of
sys.addaudithook(lambda event, words: print(event, *words) if event in ("open", "os.listdir") else None)
holders_of(())
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert said.stdout == ""
