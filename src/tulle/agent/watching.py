"""Follows the manifests: sleeps until a file changes, then lets it settle and reads it once."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tulle.agent.node import MANIFEST, Node
from tulle.agent.sources import Sources
from tulle.compiler import sure_faults
from tulle.kit.inotify import Inotify
from tulle.manifest import load

SETTLE_SECONDS = 0.05
"""An editor writes, renames and syncs in several steps."""


async def follow(
    node: Node, sources: Sources, inotify: Inotify, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> None:
    """Never returns. A change of words alone makes no revision; what cannot be read is a problem like any other."""
    loop = asyncio.get_running_loop()
    touched = asyncio.Event()
    loop.add_reader(inotify.fileno(), touched.set)
    try:
        known = watch(sources, inotify)
        while True:
            await touched.wait()
            touched.clear()
            changed = inotify.read()
            if not sources.concerned(changed):
                continue
            await sleep(SETTLE_SECONDS)
            changed |= inotify.read()
            now = watch(sources, inotify)
            if now != known:
                known = now
                made = node.prepared(lambda: load(sources.paths, sure_faults), sources.octets())
                node.take(made, author=MANIFEST, why=_why(changed, sources), watched=now)
    finally:
        loop.remove_reader(inotify.fileno())


def watch(sources: Sources, inotify: Inotify) -> str:
    """Watches what stands now, and says what it holds; in this order, so that no change falls between."""
    for directory in sources.directories():
        try:
            inotify.watch(directory)
        except OSError:  # gone between look and watch: its parent is watched and will say so
            continue
    return sources.digest()


def _why(changed: set[Path], sources: Sources) -> str:
    names = sorted({path.name for path in changed if sources.concerned([path])})
    return f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''} changed"
