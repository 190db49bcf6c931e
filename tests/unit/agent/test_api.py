"""What the agent answers when it cannot answer as asked."""

import asyncio
from pathlib import Path

import pytest

from tulle.agent.api import Api
from tulle.agent.candidate import Ground
from tulle.agent.leaving import Leaving
from tulle.agent.node import Node
from tulle.agent.sources import Sources
from tulle.http.server import HttpError, Request
from tulle.store.revisions import Revisions


def test_a_failing_memory_is_named_to_whoever_asks_for_it(tmp_path: Path) -> None:
    store = Revisions(tmp_path / "tulle.db")
    node = Node(Ground("hello", (), "/", {}), store, now=lambda: 1000.0)
    api = Api(
        node,
        Sources([]),
        tmp_path / "admin.sock",
        0.0,
        Leaving(node, tmp_path / "admin.sock", tmp_path / "spool.db", 0.0),
    )
    store.close()

    for method, path, query in (
        ("GET", "/history", {}),
        ("GET", "/files", {"revision": "1"}),
        ("POST", "/rollback", {"to": "1"}),
    ):
        with pytest.raises(HttpError, match=r"tulle\.db") as refused:
            asyncio.run(api(Request(method, path, query, b"", None)))
        assert refused.value.status == 500
