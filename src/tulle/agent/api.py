"""The agent's API on its unix socket: one function a route. For the same user and root only."""

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from tulle.agent.data_plane import squatted_ports
from tulle.agent.doors import closed_doors
from tulle.agent.faults import fault_of, refusal
from tulle.agent.lean import leanly, octets_of
from tulle.agent.leaving import Leaving
from tulle.agent.node import Node
from tulle.agent.sources import Sources
from tulle.agent.status import status_of
from tulle.http.async_client import AsyncUnixConnection, RefusedError, Reply, ResponseError
from tulle.http.server import HttpError, Peer, Request, Response
from tulle.kit.aside import Killed
from tulle.kit.users import user_name
from tulle.manifest import Loaded, dump, parse
from tulle.store.database import StoreError
from tulle.store.revisions import Entry
from tulle.wire.plan import encode
from tulle.wire.status import (
    Applied,
    Ordered,
    Outcome,
    RevisionLine,
    RevisionState,
)
from tulle.wire.upgrade import LONGEST_DRAIN_SECONDS, Upgrade

ORDER_SECONDS = 5.0
"""How long an order to the supervisor waits for its word."""
SETTLE_SECONDS = 10.0
"""How long an apply waits for the proxy before it answers `pending`."""
DOORS_SECONDS = 2.0
"""How long an apply that is in force waits to hear whether its doors are open."""
LONGEST_WAIT_SECONDS = 3600.0
_STATUS_OF = {Outcome.INVALID: 422, Outcome.REFUSED: 409, Outcome.PENDING: 202}


class Files(msgspec.Struct, forbid_unknown_fields=True):
    """Body of an apply."""

    files: dict[str, str]
    """Text by file name; the whole mesh, as `tulle up` would read it."""
    why: str = "apply"


class Api:
    """Answers for one node."""

    def __init__(self, node: Node, sources: Sources, admin: Path, started: float, leaving: Leaving) -> None:
        self._node = node
        self._sources = sources
        self._admin = admin
        self._started = started
        self._leaving = leaving
        self._routes: dict[tuple[str, str], Callable[[Request], Awaitable[Response]]] = {
            ("GET", "/status"): self._status,
            ("GET", "/snapshot"): self._snapshot,
            ("GET", "/resources"): self._resources,
            ("GET", "/files"): self._files,
            ("POST", "/apply"): self._apply,
            ("GET", "/history"): self._history,
            ("POST", "/rollback"): self._rollback,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/refusals"): self._refusals,
            ("GET", "/tap"): self._tap,
            ("POST", "/upgrade"): self._upgrade,
            ("POST", "/stop"): self._stop,
        }

    async def __call__(self, request: Request) -> Response:
        """Routes one request."""
        route = self._routes.get((request.method, request.path))
        if route:
            try:
                return await route(request)
            except StoreError as fault:
                raise HttpError(500, f"what is remembered cannot be read: {fault}") from fault
        methods = [method for method, path in self._routes if path == request.path]
        if methods:
            raise HttpError(405, f"{request.path} takes {', '.join(methods)}")
        raise HttpError(404, f"no such route: {request.path}; there are {', '.join(p for _, p in self._routes)}")

    async def _status(self, request: Request) -> Response:
        """Now; with `ready=SECONDS`, as soon as the node is ready or the time is over."""
        if "ready" in request.query:
            await self._until(lambda: not self._node.waits_for(), _seconds(request.query["ready"]))
        status = status_of(self._node, self._leaving, self._started)
        if status.attached and status.proxy.reachable:
            squatted = await squatted_ports(self._admin)
            attached = (msgspec.structs.replace(one, squatted=squatted.get(one.name, ())) for one in status.attached)
            status = msgspec.structs.replace(status, attached=tuple(attached))
        return _json(status)

    async def _snapshot(self, request: Request) -> Response:
        if self._node.wanted is None:
            raise HttpError(404, "there is no snapshot yet")
        return Response(200, self._node.wanted.snapshot)

    async def _resources(self, request: Request) -> Response:
        files = self._node.wanted.files if self._node.wanted else {}
        try:
            text = leanly(lambda: _dumped(files), octets_of(files))
        except Killed as end:
            raise HttpError(503, f"the process that read them was ended by {end}") from end
        if not text:
            raise HttpError(404, "there are no resources yet")
        return Response(200, text, "application/yaml")

    async def _files(self, request: Request) -> Response:
        """The texts of a revision; `revision=N`, the wanted one unless said."""
        number = _number(request.query["revision"]) if "revision" in request.query else None
        revision = self._node.wanted if number is None else self._node.store.get(number)
        if revision is None:
            raise HttpError(404, "no such revision")
        return _json(Files(files=dict(revision.files), why=revision.entry.why))

    async def _apply(self, request: Request) -> Response:
        try:
            body = msgspec.json.decode(request.body, type=Files)
        except msgspec.MsgspecError as fault:
            raise HttpError(400, str(fault)) from fault
        return await self._adopt(request, body.files, body.why)

    async def _rollback(self, request: Request) -> Response:
        number = _number(request.query.get("to", ""))
        revision = self._node.store.get(number)
        if revision is None:
            raise HttpError(404, f"there is no revision {number}; `tulle history` lists what is kept")
        return await self._adopt(request, revision.files, f"rollback to {number}")

    async def _adopt(self, request: Request, files: Mapping[str, str], why: str) -> Response:
        if _is_dry(request):
            return _answer(self._node.tried(files))
        made = self._node.prepared_texts(files)
        applied = self._node.take(made, author=_author(request.peer), why=why, watched=self._sources.digest())
        if applied.outcome is Outcome.PENDING:
            await self._until(lambda: self._is_settled(applied.generation), SETTLE_SECONDS)
        settled = self._settled(applied)
        if settled.outcome is Outcome.IN_FORCE:
            await self._until(lambda: self._node.seen.generation >= settled.generation, DOORS_SECONDS)
        if settled.outcome in (Outcome.IN_FORCE, Outcome.UNCHANGED):
            closed = closed_doors(self._node.seen.doors, made.doors)
            settled = msgspec.structs.replace(settled, warnings=tuple(map(fault_of, closed)))
        return _answer(settled)

    def _is_settled(self, generation: int) -> bool:
        return generation in self._node.refused or self._node.proxy.generation >= generation

    def _settled(self, applied: Applied) -> Applied:
        node = self._node
        if applied.outcome is not Outcome.PENDING or not self._is_settled(applied.generation):
            return applied
        if applied.generation in node.refused:
            fault = fault_of(refusal(node.refused[applied.generation]))
            return Applied(outcome=Outcome.REFUSED, generation=node.generation, problems=(fault,))
        return msgspec.structs.replace(applied, outcome=Outcome.IN_FORCE)

    async def _history(self, request: Request) -> Response:
        in_force = self._node.proxy.generation
        return _json([_line(entry, in_force) for entry in self._node.store.history()])

    async def _metrics(self, request: Request) -> Response:
        """The proxy's, then the agent's own."""
        reply = await self._asked("/metrics")
        return Response(reply.status, reply.body + self._leaving.metrics().encode(), reply.content_type)

    async def _refusals(self, request: Request) -> Response:
        """Requests that the proxy answered by itself lately; `id=REQUEST-ID`: those of that id."""
        wanted = f"?id={quote(request.query['id'], safe='')}" if "id" in request.query else ""
        return await self._from_proxy(f"/refusals{wanted}")

    async def _from_proxy(self, target: str) -> Response:
        reply = await self._asked(target)
        return Response(reply.status, reply.body, reply.content_type)

    async def _asked(self, target: str) -> Reply:
        try:
            return await AsyncUnixConnection(self._admin).request("GET", target)
        except (OSError, TimeoutError, ResponseError) as fault:
            raise HttpError(503, f"the proxy does not answer: {fault}") from fault

    async def _tap(self, request: Request) -> Response:
        try:
            lines = await AsyncUnixConnection(self._admin).lines("/tap")
        except RefusedError as refused:
            return Response(refused.reply.status, refused.reply.body)
        except (OSError, TimeoutError, ResponseError) as fault:
            raise HttpError(503, f"the proxy does not answer: {fault}") from fault
        return Response(200, _tapped(lines), "application/jsonl")

    async def _upgrade(self, request: Request) -> Response:
        """Has another proxy, from the code that is on disk now, take the place of the one that serves; then this agent ends too.

        `drain=SECONDS` for the old one, `ready=SECONDS` for the new one, `hurry=1` to cut what still drains. How it goes is in
        the status.
        """
        node = self._node
        drain, ready = (_seconds(request.query.get(name, "")) for name in ("drain", "ready"))
        hurry = request.query.get("hurry", "0") not in ("0", "", "false")
        if drain > LONGEST_DRAIN_SECONDS or ready > LONGEST_DRAIN_SECONDS:
            raise HttpError(400, f"more than {LONGEST_DRAIN_SECONDS:g} seconds")
        if node.proxies.has_newcomer or not (hurry or node.proxies.is_settled):
            raise HttpError(409, "an upgrade is not done yet")
        if not node.proxies.supervisor:
            raise HttpError(501, "the supervisor is of a version that starts no second proxy")
        order = Upgrade(os.urandom(8).hex(), drain, ready, hurry)
        node.order(encode(order))
        await self._until(lambda: node.proxies.upgrade == order.upgrade, ORDER_SECONDS)
        if node.proxies.upgrade != order.upgrade:
            raise HttpError(503, "the supervisor does not follow the order")
        return Response(202, msgspec.json.encode(Ordered(upgrade=order.upgrade)))

    async def _stop(self, request: Request) -> Response:
        """Asks the supervisor to end the mesh."""
        try:
            os.kill(os.getppid(), signal.SIGTERM)
        except OSError as fault:
            raise HttpError(500, f"the supervisor cannot be told: {fault}") from fault
        return Response(202, b"{}")

    async def _until(self, reached: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, LONGEST_WAIT_SECONDS)):
                while True:
                    count = self._node.changed.count
                    if reached():
                        return
                    await self._node.changed.past(count)
        except TimeoutError:
            return


async def _tapped(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with suppress(OSError, ResponseError):
        async for line in lines:
            yield line + b"\n"


def _dumped(files: Mapping[str, str]) -> bytes:
    """Empty where there are none."""
    loaded = parse(files)
    return dump(loaded.resources).encode() if isinstance(loaded, Loaded) else b""


def _line(entry: Entry, in_force: int) -> RevisionLine:
    if entry.fault:
        state = RevisionState.REFUSED
    elif entry.number == in_force:
        state = RevisionState.IN_FORCE
    else:
        state = RevisionState.ACCEPTED if entry.accepted else RevisionState.NEW
    return RevisionLine(
        number=entry.number, time=entry.time, author=entry.author, why=entry.why, state=state, fault=entry.fault
    )


def _is_dry(request: Request) -> bool:
    return request.query.get("dry_run", "0") not in ("0", "", "false")


def _answer(applied: Applied) -> Response:
    status = _STATUS_OF.get(applied.outcome, 200)
    return Response(status, msgspec.json.encode(applied))


def _json(document: object) -> Response:
    return Response(200, msgspec.json.encode(document))


def _author(peer: Peer | None) -> str:
    if peer is None:
        return "unknown"
    name = user_name(peer.uid)
    return f"uid {peer.uid} ({name})" if name else f"uid {peer.uid}"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as fault:
        raise HttpError(400, f"not a number of seconds: {text}") from fault
    if math.isnan(seconds):
        raise HttpError(400, f"not a number of seconds: {text}")
    return max(seconds, 0.0)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError as fault:
        raise HttpError(400, f"not the number of a revision: {text!r}") from fault
