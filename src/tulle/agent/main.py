"""The control plane of one node. Started by the supervisor, ends with it."""

import asyncio
import getopt
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tulle.agent.api import Api
from tulle.agent.candidate import Ground
from tulle.agent.data_plane import keep_proxy
from tulle.agent.leaving import Leaving
from tulle.agent.node import Node
from tulle.agent.other_proxies import keep_others
from tulle.agent.sources import Sources
from tulle.agent.supervision import LINE_BYTES, SupervisorGone, keep_supervisor
from tulle.agent.watching import follow, watch
from tulle.compiler import sure_faults
from tulle.http.server import serve
from tulle.kit import paths
from tulle.kit.heap import give_back, keep_large_apart
from tulle.kit.inotify import Inotify
from tulle.kit.listen import listen_at_path
from tulle.kit.signals import leave_interrupts, on_signal
from tulle.manifest import home_of, load
from tulle.store.database import NewerState
from tulle.store.revisions import Revisions

log = logging.getLogger("tulle.agent")


class Stopped(Exception):
    """SIGTERM or SIGINT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs until told to stop or left alone."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    keep_large_apart()
    mesh, manifests, home, control_fd = _told(sys.argv[1:] if argv is None else argv)
    refused = 0
    leave_interrupts()
    try:
        asyncio.run(_run(mesh, manifests, home, control_fd))
    except* Stopped:
        log.info("stopped")
    except* SupervisorGone:
        log.info("the supervisor is gone")
    except* NewerState as newer:
        for fault in newer.exceptions:
            log.error("%s; hint: %s", fault, getattr(fault, "hint", ""))
        refused = 1  # what was applied last is unknown here: older rules than those must not come back
    return refused


async def _run(mesh: str, manifests: Sequence[Path], home: Path | None, control_fd: int) -> None:
    started = time.time()
    sources = Sources(manifests)
    ground = ground_of(mesh, manifests, os.environ, home)
    store = Revisions(paths.database(mesh))
    node = Node(ground, store, time.time)
    leaving = Leaving(node, paths.admin_socket(mesh), paths.spool(mesh), started)
    inotify = Inotify()
    watched = watch(sources, inotify)
    node.boot(lambda: load(sources.paths, sure_faults), sources.octets(), watched)
    give_back()
    admin = paths.admin_socket(mesh)
    api_socket = listen_at_path(str(paths.agent_socket(mesh)))
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=control_fd), limit=LINE_BYTES)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_until_signal())
            group.create_task(keep_supervisor(node, reader, writer))
            group.create_task(keep_proxy(node, admin))
            group.create_task(keep_others(node, admin.parent))
            group.create_task(follow(node, sources, inotify))
            group.create_task(_log_changes(node))
            group.create_task(leaving.run())
            uids = frozenset({0, os.getuid()})
            group.create_task(serve(api_socket, Api(node, sources, admin, started, leaving), uids=uids))
    finally:
        writer.close()
        api_socket.close()
        inotify.close()
        store.close()


def ground_of(mesh: str, manifests: Sequence[Path], environment: Mapping[str, str], home: Path | None = None) -> Ground:
    """What this node adds to its manifests. Relative paths in them start at `home`, or else where the first one lies."""
    return Ground(
        mesh=mesh,
        manifests=tuple(str(path.absolute()) for path in manifests),
        base_dir=str(home or home_of(manifests)),
        environment=_given(environment),
    )


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    """To every workload. The directory of the interpreter that runs Tulle comes last, so that `python` is found."""
    given = {name: environment[name] for name in ("PATH", "HOME", "LANG") if name in environment}
    if "PATH" in given:
        given["PATH"] = f"{given['PATH']}:{Path(sys.executable).parent}"
    return given


async def _until_signal() -> None:
    told = asyncio.Event()
    on_signal(asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT), told.set)
    await told.wait()
    raise Stopped


async def _log_changes(node: Node) -> None:
    """Words for the log: each set of problems, each generation in force, each note, once."""
    said: object = None
    while True:
        count = node.changed.count
        now = (tuple(node.problems), tuple(node.notes), node.proxy)
        if now != said:
            said = now
            _report(node)
        await node.changed.past(count)


def _report(node: Node) -> None:
    proxy = node.proxy.generation if node.proxy.reachable else "not there"
    log.info("wanted generation %d, proxy %s", node.generation, proxy)
    for problem in node.problems:
        log.error("%s", problem)
    for note in node.notes:
        log.warning("%s", note)


def _told(arguments: Sequence[str]) -> tuple[str, list[Path], Path | None, int]:
    """Mesh, manifests, their home, the supervisor's socket. Raises SystemExit for what is no command line of ours."""
    known = ["mesh=", "manifest=", "home=", "control-fd="]
    try:
        found, rest = getopt.getopt(list(arguments), "", known)
        said = dict(found)
        manifests = [Path(value) for name, value in found if name == "--manifest"]
        if rest or not manifests:
            raise ValueError("; ".join(rest) or "no --manifest")
        home = Path(said["--home"]) if "--home" in said else None
        return said["--mesh"], manifests, home, int(said["--control-fd"])
    except (getopt.GetoptError, KeyError, ValueError) as fault:
        usage = " ".join(f"--{name}" for name in known)
        raise SystemExit(f"tulle.agent: {fault}; it is started by the supervisor, with {usage}") from None
