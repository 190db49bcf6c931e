"""The proxy's admin API, over a unix socket: see ARCHITECTURE.md. On the metrics port only `GET /metrics` answers."""

import json
import os
import time
from collections.abc import Callable

import msgspec

from tulle.http.server import HttpError, Request, Response
from tulle.proxy.arrival import Register
from tulle.proxy.control import Listeners
from tulle.proxy.plane import Plane, RefusedSnapshot
from tulle.proxy.relay import Relay
from tulle.proxy.succession import Heir
from tulle.proxy.tap import MAX_LISTENERS, Tap, TooManyListeners
from tulle.proxy.telemetry import CONTENT_TYPE, Telemetry


class Admin:
    """Answers the agent and whoever it lets ask."""

    def __init__(
        self,
        relay: Relay,
        plane: Plane,
        listeners: Listeners,
        register: Register,
        telemetry: Telemetry,
        heir: Heir,
        drain: Callable[[], None],
        version: str,
    ) -> None:
        self._relay = relay
        self._plane = plane
        self._listeners = listeners
        self._register = register
        self._telemetry = telemetry
        telemetry.endpoints = self._endpoints
        self._heir = heir
        self._drain = drain
        self._version = version
        self._tap = Tap(relay)
        self._started = time.monotonic()

    async def answer(self, request: Request) -> Response:
        """For `serve` on the admin socket."""
        match request.method, request.path:
            case "PUT", "/snapshot":
                return await self._put_snapshot(request.body)
            case "GET", "/snapshot":
                text = self._plane.text()
                if text is None:
                    raise HttpError(404, "no snapshot yet")
                return Response(200, text)
            case "GET", "/status":
                return _json(self._status())
            case "GET", "/metrics":
                return await self._metrics()
            case "GET", "/live":
                return _json({"live": True})
            case "GET", "/ready":
                waits = self._waits_for()
                return _json({"ready": not waits, "waits_for": waits}, 503 if waits else 200)
            case "GET", "/connections":
                return _json(self._connections())
            case "GET", "/tap":
                return self._listen(_filter(request.query))
            case "GET", "/refusals":
                wanted = request.query.get("id")
                found = [*await self._heir.refused(wanted), *self._relay.refusals.found(wanted)]
                return Response(200, msgspec.json.encode(found))
            case "POST", "/drain":
                self._drain()
                return _json({"draining": True}, 202)
            case _, (
                "/snapshot"
                | "/status"
                | "/metrics"
                | "/live"
                | "/ready"
                | "/connections"
                | "/tap"
                | "/refusals"
                | "/drain"
            ):
                raise HttpError(405, f"{request.method} is not for {request.path}")
            case _:
                raise HttpError(404, f"no {request.path}")

    async def answer_scrape(self, request: Request) -> Response:
        """For `serve` on the metrics port."""
        if request.path != "/metrics":
            raise HttpError(404, "only /metrics is here")
        if request.method not in ("GET", "HEAD"):
            raise HttpError(405, "only GET")
        return await self._metrics()

    async def _put_snapshot(self, text: bytes) -> Response:
        try:
            answer: dict[str, object] = {"generation": await self._plane.apply(text)}
        except RefusedSnapshot as fault:
            raise HttpError(400, str(fault)) from fault
        if self._plane.warning:
            answer["warning"] = self._plane.warning
        return _json(answer)

    def _listen(self, wanted: Callable[[dict[str, object]], bool]) -> Response:
        try:
            return Response(200, self._tap.lines(wanted), "application/jsonl")
        except TooManyListeners:
            raise HttpError(503, f"{MAX_LISTENERS} listen already; end one of them first") from None

    async def _metrics(self) -> Response:
        counters = await self._heir.counters()
        return Response(200, self._telemetry.text(counters).encode(), CONTENT_TYPE)

    def _endpoints(self) -> dict[tuple[str, str], int]:
        tables = self._relay.tables
        found = tables.endpoints.values() if tables is not None else ()
        return {(one.workload, str(one.port)): int(one.ready) for one in found}

    def _waits_for(self) -> list[str]:
        waits = []
        if self._relay.tables is None:
            waits.append("a snapshot")
        if not self._listeners.is_synced:
            waits.append("the supervisor's listeners")
        if self._relay.is_draining:
            waits.append("the end of its drain")
        return waits

    def _status(self) -> dict[str, object]:
        relay = self._relay
        tables = relay.tables
        endpoints = list(tables.endpoints.values()) if tables is not None else []
        return {
            "version": self._version,
            "pid": os.getpid(),
            "generation": self._telemetry.generation,
            "ready": not self._waits_for(),
            "waits_for": self._waits_for(),
            "warnings": [self._plane.warning] if self._plane.warning else [],
            "draining": relay.is_draining,
            "seconds": round(time.monotonic() - self._started, 3),
            "resident_bytes": self._telemetry.resident_bytes(),
            "connections": len(self._register.connections),
            "requests_in_flight": relay.counters.in_flight,
            "defects": relay.dispatcher.defects,
            "pods": sorted(self._listeners.pods),
            "doors": sorted(self._listeners.doors),
            "hosts": sorted(self._listeners.hosts),
            "attached": self._listeners.attestor.facts.workloads if self._listeners.attestor is not None else [],
            "endpoints": [
                {
                    "workload": one.workload,
                    "address": f"{one.pod or one.host or 'localhost'}:{one.port}",
                    "ready": one.ready,
                    "squatted": one.is_squatted,
                    "in_flight": one.in_flight,
                }
                for one in endpoints
            ],
        }

    def _connections(self) -> list[dict[str, object]]:
        now = self._relay.dispatcher.now
        return [
            {
                "source": one.source,
                "destination": one.destination,
                "protocol": one.protocol,
                "by": one.arrival.counted_as or f"door {one.arrival.port}",
                "seconds": round(max(0.0, now - one.since), 3),
            }
            for one in sorted(self._register.connections, key=lambda one: one.since)
        ]


def _filter(query: dict[str, str]) -> Callable[[dict[str, object]], bool]:
    def wanted(summary: dict[str, object]) -> bool:
        return all(str(summary.get(name)) == value for name, value in query.items())

    return wanted


def _json(value: object, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode())
