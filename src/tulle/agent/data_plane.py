"""Keeps the proxy at the wanted generation, however often it starts anew."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from tulle.agent.node import Node
from tulle.http.async_client import AsyncUnixConnection, ResponseError
from tulle.kit.backoff import Backoff
from tulle.wire.upgrade import ProxyStatus

ANSWER_SECONDS = 2.0
"""A proxy that says nothing for so long counts as gone."""
PUSH_SECONDS = 30.0
_PAUSES_SECONDS = (0.05, 2.0)


class _Serving(msgspec.Struct):
    generation: int = 0


class _Endpoint(msgspec.Struct):
    workload: str
    address: str
    squatted: bool = False


class _Dialled(msgspec.Struct):
    endpoints: list[_Endpoint] = []


async def squatted_ports(admin: Path) -> dict[str, tuple[int, ...]]:
    """Ports of attached workloads at which the proxy found somebody else when it last dialled; none where it does not answer."""
    try:
        reply = await AsyncUnixConnection(admin, timeout=ANSWER_SECONDS).request("GET", "/status")
        endpoints = msgspec.json.decode(reply.body, type=_Dialled).endpoints if reply.is_ok else []
    except (OSError, TimeoutError, ResponseError, msgspec.MsgspecError):
        return {}
    found: dict[str, set[int]] = {}
    for one in endpoints:
        if one.squatted:
            found.setdefault(one.workload, set()).add(int(one.address.rpartition(":")[2]))
    return {workload: tuple(sorted(ports)) for workload, ports in found.items()}


async def keep_proxy(node: Node, admin: Path, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
    """Never returns. Sleeps while the proxy has what it shall have: its death ends a connection kept for that."""
    backoff = Backoff(*_PAUSES_SECONDS)
    while True:
        if await _serves(node, admin):
            backoff = Backoff(*_PAUSES_SECONDS)
        else:
            node.proxy_gone()
            await sleep(backoff.after(0.0))


async def _serves(node: Node, admin: Path) -> bool:
    """True once a proxy that answered has ended; False when none answers, or not as one should."""
    as_it_should = True
    try:
        reader, writer = await asyncio.open_unix_connection(str(admin))
        try:
            await _converse(node, admin, reader)
        finally:
            writer.close()
    except* (OSError, ResponseError, msgspec.MsgspecError):  # of a push they come as a group's
        as_it_should = False
    return as_it_should


async def _converse(node: Node, admin: Path, lifeline: asyncio.StreamReader) -> None:
    """Until the proxy closes the lifeline, or another takes its place.

    The lifeline was opened first, so whoever answers here lives no longer than it, unless it is another already.
    """
    serving = node.proxies.proxies[:1]
    reply = await AsyncUnixConnection(admin, timeout=ANSWER_SECONDS).request("GET", "/status")
    if not reply.is_ok:
        raise ResponseError(f"status {reply.status}")
    node.proxy_has(msgspec.json.decode(reply.body, type=_Serving).generation)
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(_closed(lifeline))
        while not gone.done() and (not serving or _are_same(serving, node.proxies.proxies[:1])):
            count = node.changed.count
            await _push(node, admin)
            changed = group.create_task(node.changed.past(count))
            await asyncio.wait((gone, changed), return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
        gone.cancel()


async def _push(node: Node, admin: Path) -> None:
    wanted = node.wanted
    if node.proxies.has_newcomer:
        return  # it may be the only one that reads what this agent writes
    if wanted is None or wanted.number <= node.proxy.generation or wanted.number in node.refused:
        return
    reply = await AsyncUnixConnection(admin, timeout=PUSH_SECONDS).request("PUT", "/snapshot", wanted.snapshot)
    if reply.is_ok:
        node.proxy_took(wanted.number)
    elif reply.status in (400, 409, 413):
        node.proxy_refused(wanted.number, _fault(reply.body))
    else:
        raise ResponseError(f"status {reply.status}")


def _fault(body: bytes) -> str:
    with suppress(msgspec.MsgspecError):
        return str(msgspec.json.decode(body, type=dict[str, str])["error"])
    return body.decode(errors="replace") or "without a word"


def _are_same(one: list[ProxyStatus], other: list[ProxyStatus]) -> bool:
    """The same places; which process is there the lifeline tells."""
    return [proxy.admin for proxy in one] == [proxy.admin for proxy in other]


async def _closed(lifeline: asyncio.StreamReader) -> None:
    with suppress(OSError):
        await lifeline.read(1)
