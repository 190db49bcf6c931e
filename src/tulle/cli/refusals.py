"""Requests that the proxy answered by itself, looked up by their id: what it said, and what it would say now."""

import time
from collections.abc import Iterator
from typing import NoReturn
from urllib.parse import quote

from tulle.cli.running import Running, running
from tulle.cli.why import JudgedCall, judge_call, request_view, show_policies
from tulle.cli.words import Ended, Exit, Failure, red, show, show_json
from tulle.core.backends import RouteTable
from tulle.core.policies import ANONYMOUS
from tulle.core.tables import Tables, build_tables
from tulle.supervisor.holder import holder_of
from tulle.wire.reason import Fault, Reason
from tulle.wire.snapshot import decode_snapshot
from tulle.wire.status import NodeStatus, Refusal

OF_POLICY = frozenset({Reason.DENIED.code, Reason.CALLS_DENIED.code})


def explain_refusal(request_id: str, mesh: str | None, *, as_json: bool) -> NoReturn:
    """Says why the request was refused, and ends with the code for that."""
    found = running(mesh)
    one = _remembered(found, request_id)
    tables = build_tables(decode_snapshot(found.text("/snapshot")))
    judged = _judged(one, tables)
    now = judged if one.reason in OF_POLICY else None
    if as_json:
        document = None if now is None else now.document()
        show_json({"refusal": one, "generation": tables.generation, "now": document})
        raise Ended(Exit.REFUSED)
    _show(one)
    if now is not None:
        show("")
        if tables.generation == one.generation:
            show_policies(now.found)
        else:
            show(f"the mesh has changed since (generation {one.generation} → {tables.generation}); now it would be")
            now.show()
    elif judged is not None and judged.route is not None and _fault(one) is Fault.UPSTREAM:
        for line in endpoint_lines(judged.route, found.status(0.0)):
            show(line)
    raise Ended(Exit.REFUSED)


def _remembered(found: Running, request_id: str) -> Refusal:
    known = found.get(f"/refusals?id={quote(request_id, safe='')}", list[Refusal])
    if known:
        return known[-1]
    raise Failure(
        "unknown-request",
        f"no refused request `{request_id}` is remembered",
        hint="the proxy remembers its last few hundred, since it started; `tulle why FROM TO` asks about any call",
        exit=Exit.USAGE,
    )


def _judged(one: Refusal, tables: Tables) -> JudgedCall | None:
    """What would be said now; None where caller or service have gone, and for what was no valid request."""
    target = tables.by_name.get((one.destination, one.port))
    who = tables.callers.get(one.pod) if one.pod else ANONYMOUS
    if target is None or who is None or not one.method:
        return None
    return judge_call(tables, target, who, request_view(one.method, one.path, one.host, ()))


def endpoint_lines(route: RouteTable, status: NodeStatus) -> Iterator[str]:
    """Where a request could go, and how that is: what a person looks at next."""
    pods = {pod.name: pod for pod in status.pods}
    attached = {one.name for one in status.attached}
    for one in (endpoint for backend in route.backends for endpoint in backend.endpoints):
        if pod := pods.get(one.workload):
            why = f" ({pod.why})" if pod.why else ""
            yield f"now: {one.workload}:{one.port} is {pod.state}{why}; `tulle logs {one.workload}` has its words"
        elif one.workload in attached:
            held = holder_of(one.port, virtual=False)
            yield f"now: {one.workload} is attached; at port {one.port} {f'listens {held}' if held else 'nobody listens'}"
        else:
            yield f"now: {one.workload} is {one.host}:{one.port}, beyond the mesh"


def _fault(one: Refusal) -> Fault | None:
    return next((reason.fault for reason in Reason if reason.code == one.reason), None)


def _show(one: Refusal) -> None:
    reasons = {reason.code: reason for reason in Reason}
    reason = reasons.get(one.reason)
    denied = f"denied: by policy {one.policy}"
    is_named = one.policy and one.reason in OF_POLICY
    show(red(denied if is_named else f"{one.reason}: {reason.meaning if reason else ''}"))
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.time))
    what = f"{one.method} {one.path}" if one.method else "no valid request"
    show(f"{one.source} → {one.destination}{f':{one.port}' if one.port else ''}, {what}")
    show(f"at {when}, by generation {one.generation}")
    if one.trace:
        show(f"trace {one.trace}")
    if reason is not None and one.reason not in OF_POLICY:
        again = "sending it again may help" if reason.retryable else "sending it again would not help"
        show(f"fault: {reason.fault.value}; {again}")
