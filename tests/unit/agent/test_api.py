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


def api_of(store: Revisions, directory: Path) -> Api:
    node = Node(Ground("hello", (), "/", {}), store, now=lambda: 1000.0)
    admin = directory / "admin.sock"
    return Api(node, Sources([]), admin, 0.0, Leaving(node, admin, directory / "spool.db", 0.0))


def test_a_failing_memory_is_named_to_whoever_asks_for_it(tmp_path: Path) -> None:
    store = Revisions(tmp_path / "tulle.db")
    api = api_of(store, tmp_path)
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
    api = api_of(store, tmp_path)

    with pytest.raises(HttpError) as refused:
        asyncio.run(api(Request("POST", "/upgrade", query, b"", None)))
    store.close()

    assert refused.value.status == 400
