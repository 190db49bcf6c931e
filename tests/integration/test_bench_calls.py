"""The ends of the gRPC bench: what they count is what was answered as it should be."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.backend import Backend
from benchmarks.calls import CALL_HEADS, call, compile_peer, start_answering
from benchmarks.load import Heads, Load
from benchmarks.process import LOAD_CORE, start
from tests.support.processes import eventually
from tests.support.programs import needs
from tools.ports import free_port

pytestmark = needs("cc")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_peer(tmp_path_factory.mktemp("peer"))


@pytest.fixture
def backend(tmp_path: Path, peer: Path) -> Iterator[Backend]:
    with ExitStack() as started:
        yield start_answering(started, tmp_path, peer)


@pytest.mark.parametrize("heads", CALL_HEADS)
def test_calls_that_are_answered_are_counted(backend: Backend, peer: Path, heads: Heads) -> None:
    load = call(backend.ports[1], heads, 1, 0.5, peer, 2, 8)

    assert load.requests > 0
    assert load.failed == 0


@needs("nghttpd")
def test_calls_answered_otherwise_failed(tmp_path: Path, peer: Path) -> None:
    port = free_port()
    with ExitStack() as started:
        start(started, LOAD_CORE, ["nghttpd", "--no-tls", "-d", tmp_path, str(port)], tmp_path / "nghttpd.log")

        load = eventually(lambda: answered(peer, port), within=20, what="nghttpd answers")

    assert load.requests == 0
    assert load.failed > 0


def answered(peer: Path, port: int) -> Load | None:
    """A load of which something was answered, well or not."""
    try:
        load = call(port, "indexed", 1, 0.1, peer, 1, 4)
    except subprocess.CalledProcessError:
        return None
    return load if load.requests or load.failed else None
