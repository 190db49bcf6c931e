"""The chat as it stands: guests hear each other by WebSocket, a stranger is refused at the handshake, visits are counted."""

from collections.abc import Iterator

import pytest

from tests.support.processes import eventually
from tests.support.running import Running, running_example
from tools.exposition import total

pytestmark = pytest.mark.user


@pytest.fixture(scope="module")
def mesh() -> Iterator[Running]:
    with running_example("chat", {}) as one:
        yield one


def test_guests_hear_each_other(mesh: Running) -> None:
    eventually(lambda: "heard ben: " in mesh.log("default/ada"), 30, "ada heard ben")
    eventually(lambda: "heard ada: " in mesh.log("default/ben"), 30, "ben heard ada")


def test_a_stranger_is_refused_at_the_handshake(mesh: Running) -> None:
    eventually(lambda: "refused: HTTP/1.1 403" in mesh.log("default/stranger"), 30, "the stranger was refused")
    assert "heard" not in mesh.log("default/stranger")


def test_a_visit_is_counted_as_it_ended(mesh: Running) -> None:
    eventually(lambda: "left" in mesh.log("default/ada"), 60, "ada left")
    labels = {"source": "default/ada", "destination": "default/room"}
    eventually(
        lambda: total(mesh.series(), "tulle_websocket_closes_total", code="1000", by="caller", **labels) > 0,
        20,
        "her visit is counted",
    )
    assert total(mesh.series(), "tulle_response_bytes_total", protocol="websocket", **labels) > 0


def test_guests_come_again_when_the_proxy_dies(mesh: Running) -> None:
    proxy = mesh.processes.pid("proxy")
    mesh.processes.kill("proxy")
    mesh.processes.restarted("proxy", proxy)
    before = {guest: len(mesh.log(f"default/{guest}")) for guest in ("ada", "ben")}

    for guest, other in (("ada", "ben"), ("ben", "ada")):
        eventually(
            lambda guest=guest, other=other: f"heard {other}: " in mesh.log(f"default/{guest}")[before[guest] :],  # type: ignore[misc]
            30,
            f"{guest} hears {other} again",
        )
        assert "Traceback" not in mesh.log(f"default/{guest}")
    assert "heard" not in mesh.log("default/stranger")
