"""The agent's line to the supervisor: plans out, reports in. When it closes, the agent has no reason to live."""

import asyncio

from tulle.agent.node import Node
from tulle.wire.plan import decode_report
from tulle.wire.upgrade import decode_proxies

LINE_BYTES = 16 * 1024 * 1024
"""Longest report that is read."""


class SupervisorGone(Exception):
    """The supervisor closed its end."""


async def keep_supervisor(node: Node, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Raises SupervisorGone when the other end closes."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_receive(node, reader))
        group.create_task(_send(node, writer))


async def _receive(node: Node, reader: asyncio.StreamReader) -> None:
    try:
        while line := await reader.readline():
            proxies = decode_proxies(line)
            if proxies is None:
                node.supervisor_says(decode_report(line))
            else:
                node.supervisor_lists(proxies)
    except OSError as fault:
        raise SupervisorGone from fault
    raise SupervisorGone


async def _send(node: Node, writer: asyncio.StreamWriter) -> None:
    sent: bytes | None = None
    try:
        while True:
            count = node.changed.count
            while node.orders:
                writer.write(node.orders.pop(0))
                await writer.drain()
            if node.planned is not None and node.planned != sent:
                sent = node.planned
                writer.write(sent)
                await writer.drain()
            await node.changed.past(count)
    except OSError as fault:
        raise SupervisorGone from fault
