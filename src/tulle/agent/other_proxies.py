"""Tells proxies besides the one that serves what is in force: one that is to take its place, and one that drains.

Who drains still serves: what a new policy forbids shall end there too. Who is to come needs this only where it cannot read
what the one before it has remembered.
"""

import asyncio
from contextlib import suppress
from pathlib import Path

import msgspec

from tulle.agent.data_plane import ANSWER_SECONDS, PUSH_SECONDS
from tulle.agent.node import Node
from tulle.http.async_client import AsyncUnixConnection, ResponseError
from tulle.wire.upgrade import ProxyState, ProxyStatus

_PAUSE_SECONDS = 0.1


class _Serving(msgspec.Struct):
    generation: int = 0


async def keep_others(node: Node, directory: Path) -> None:
    """Never returns. `directory`: where the proxies' sockets are."""
    async with asyncio.TaskGroup() as group:
        kept: dict[tuple[str, int], asyncio.Task[None]] = {}
        while True:
            count = node.changed.count
            there = {(one.admin, one.pid): one for one in node.proxies.proxies[1:] if one.pid}
            for key in [key for key in kept if key not in there]:
                kept.pop(key).cancel()
            for key, one in there.items():
                if key not in kept:
                    kept[key] = group.create_task(_keep(node, one, directory / one.admin))
            await node.changed.past(count)


async def _keep(node: Node, one: ProxyStatus, admin: Path) -> None:
    """Until it is cancelled, since the proxy has ended or serves."""
    while True:
        with suppress(OSError, TimeoutError, ResponseError, msgspec.MsgspecError):
            reply = await AsyncUnixConnection(admin, timeout=ANSWER_SECONDS).request("GET", "/status")
            await _follow(node, one, admin, msgspec.json.decode(reply.body, type=_Serving).generation)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _follow(node: Node, one: ProxyStatus, admin: Path, has: int) -> None:
    while True:
        count = node.changed.count
        wanted = node.wanted
        is_newcomer = one.state is ProxyState.STARTING
        if wanted and wanted.number > has and (is_newcomer or node.proxy.generation == wanted.number):
            reply = await AsyncUnixConnection(admin, timeout=PUSH_SECONDS).request("PUT", "/snapshot", wanted.snapshot)
            has = wanted.number  # one that refuses it is not asked again: it may be of another version
            if reply.is_ok and is_newcomer:
                node.proxy_took(wanted.number)
        await node.changed.past(count)
