"""What the agent answers when it cannot answer as asked."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from tulle.agent.api import Api
from tulle.agent.candidate import Ground, Prepared
from tulle.agent.lean import LARGE
from tulle.agent.leaving import Leaving
from tulle.agent.node import Node
from tulle.agent.sources import Sources
from tulle.http.server import HttpError, Request
from tulle.manifest import Loaded
from tulle.model.place import Problem
from tulle.store.revisions import Revisions
from tulle.wire.status import Applied, Outcome

GROUND = Ground("hello", (), "/", {})


def api_of(node: Node, directory: Path) -> Api:
    admin = directory / "admin.sock"
    return Api(node, Sources([]), admin, 0.0, Leaving(node, admin, directory / "spool.db", 0.0))


def test_a_failing_memory_is_named_to_whoever_asks_for_it(tmp_path: Path) -> None:
    store = Revisions(tmp_path / "tulle.db")
    api = api_of(Node(GROUND, store, now=lambda: 1000.0), tmp_path)
    store.close()

    for method, path, query in (
        ("GET", "/history", {}),
        ("GET", "/files", {"revision": "1"}),
        ("POST", "/rollback", {"to": "1"}),
    ):
        with pytest.raises(HttpError, match=r"tulle\.db") as refused:
            asyncio.run(api(Request(method, path, query, b"", None)))
        assert refused.value.status == 500


@pytest.mark.parametrize(
    "query", [{"drain": "inf", "ready": "30"}, {"drain": "1e6", "ready": "30"}, {"drain": "300", "ready": "nan"}]
)
def test_an_upgrade_that_would_never_end_is_refused(query: dict[str, str], tmp_path: Path) -> None:
    store = Revisions(tmp_path / "tulle.db")
    api = api_of(Node(GROUND, store, now=lambda: 1000.0), tmp_path)

    with pytest.raises(HttpError) as refused:
        asyncio.run(api(Request("POST", "/upgrade", query, b"", None)))
    store.close()

    assert refused.value.status == 400


class WithoutMemory(Node):
    """What it compiles in another process is killed."""

    def prepare(self, loaded: Loaded | list[Problem]) -> Prepared:
        assert os.getpid() != OURS
        os.kill(os.getpid(), signal.SIGKILL)
        return super().prepare(loaded)


OURS = os.getpid()


@pytest.mark.parametrize("query", [{}, {"dry_run": "1"}])
def test_an_apply_whose_compile_is_killed_is_answered_and_changes_nothing(
    query: dict[str, str], tmp_path: Path
) -> None:
    store = Revisions(tmp_path / "tulle.db")
    node = WithoutMemory(GROUND, store, now=lambda: 1000.0)
    text = f"# {'x' * LARGE}\nmesh: hello\nservices: {{web: {{run: /bin/web, port: 80}}}}\n"
    body = msgspec.json.encode({"files": {"mesh.yaml": text}})

    answer = asyncio.run(api_of(node, tmp_path)(Request("POST", "/apply", query, body, None)))
    store.close()

    assert isinstance(answer.body, bytes)
    applied = msgspec.json.decode(answer.body, type=Applied)
    assert (answer.status, applied.outcome) == (422, Outcome.INVALID)
    assert [problem.code for problem in applied.problems] == ["compile-killed"]
    assert node.wanted is None
