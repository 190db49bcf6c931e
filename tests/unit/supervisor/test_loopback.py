"""Virtual addresses of the box's own loopback that cannot be had: what is said of each."""

import errno
import os
from pathlib import Path
from typing import cast

import pytest

from tests.support.hand_loop import HandLoop
from tulle.supervisor.handover import ProxyLink
from tulle.supervisor.loop import Loop
from tulle.supervisor.loopback import Loopback, describe
from tulle.wire.plan import DoorState

TAKEN = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@pytest.mark.parametrize(
    ("address", "holder", "remedy"),
    [
        ("127.0.0.1:15001", "mesh other (pid 7)", "One mesh of a box has the forward proxy"),
        ("127.0.0.1:15001", "squid (pid 7)", "Let that program listen elsewhere"),
        ("127.80.1.2:80", "mesh other (pid 7)", "Another mesh of this box has a service of this name"),
        ("127.80.1.2:80", "nginx (pid 7)", "Let that program listen on 127.0.0.1"),
    ],
)
def test_a_taken_address_has_the_remedy_for_its_holder(address: str, holder: str, remedy: str) -> None:
    port = int(address.rpartition(":")[2])

    said = describe(address, TAKEN, {port: holder})

    assert (said.state, said.holder) == (DoorState.TAKEN, holder)
    assert said.remedy.startswith(remedy)


def test_a_path_that_cannot_be_had_has_no_holder_and_leads_to_the_address() -> None:
    for fault in IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)), OSError("AF_UNIX path too long"):
        said = describe("/run/tulle/shop.forward/proxy.sock", fault, {})

        assert (said.state, said.why, said.holder) == (DoorState.REFUSED, fault.strerror or str(fault), "")
        assert "http://127.0.0.1:15001" in said.remedy


def test_a_path_that_a_killed_supervisor_left_is_gone_whether_it_is_wanted_or_not(tmp_path: Path) -> None:
    left = tmp_path / "proxy.sock"
    left.touch()
    loop = cast("Loop", HandLoop())

    Loopback(loop, ProxyLink(loop), print, lambda: None, str(left)).want([])

    assert not left.exists()


def test_an_address_that_is_refused_has_no_holder() -> None:
    said = describe("127.80.1.2:80", PermissionError(errno.EACCES, os.strerror(errno.EACCES)), {})

    assert (said.state, said.holder) == (DoorState.REFUSED, "")
    assert "need root" in said.remedy
