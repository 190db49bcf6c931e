"""Keeping the proxy at the wanted generation, between a node and a proxy that ends at the worst moment."""

import asyncio
from pathlib import Path

import pytest

from tulle.agent.candidate import Ground
from tulle.agent.data_plane import keep_proxy
from tulle.agent.node import Node
from tulle.manifest import parse
from tulle.store.revisions import Revisions

STATUS = b'HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{"generation":0}'


class Enough(Exception):
    """The agent has paused before it tries again."""


class EndingProxy:
    """Says how it is, and closes when it is given a snapshot."""

    def __init__(self) -> None:
        self._connections: set[asyncio.StreamWriter] = set()
        self.is_left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        if await reader.readline() == b"GET /status HTTP/1.1\r\n":
            writer.write(STATUS)
            await reader.read()
        writer.close()
        await writer.wait_closed()
        self._connections.discard(writer)
        if not self._connections:
            self.is_left.set()


async def pause(_seconds: float) -> None:
    raise Enough


def test_a_proxy_that_ends_while_it_is_given_a_snapshot_is_tried_again(tmp_path: Path) -> None:
    store = Revisions(tmp_path / "tulle.db")
    node = Node(Ground("hello", (), "/", {}), store, now=lambda: 1000.0)
    node.boot(lambda: parse({"mesh.yaml": "mesh: hello\nservices:\n  web: {run: /bin/web, port: 80}\n"}), 0, "w1")
    admin = tmp_path / "admin.sock"

    async def keep() -> None:
        proxy = EndingProxy()
        async with await asyncio.start_unix_server(proxy, str(admin)):
            with pytest.raises(Enough):
                await keep_proxy(node, admin, pause)
            await proxy.is_left.wait()

    asyncio.run(keep())

    assert not node.proxy.reachable
    store.close()
