"""Requests that the proxy answered by itself, looked up by their id: what it said, and what it would say now."""

import time
from typing import NoReturn
from urllib.parse import quote

from tulle.cli.running import Running, running
from tulle.cli.why import JudgedCall, judge_call, request_view, show_policies
from tulle.cli.words import Ended, Exit, Failure, red, show, show_json
from tulle.core.policies import ANONYMOUS
from tulle.core.tables import Tables, build_tables
from tulle.wire.reason import Reason
from tulle.wire.snapshot import decode_snapshot
from tulle.wire.status import Refusal

OF_POLICY = frozenset({Reason.DENIED.code, Reason.CALLS_DENIED.code})


def explain_refusal(request_id: str, mesh: str | None, *, as_json: bool) -> NoReturn:
    """Says why the request was refused, and ends with the code for that."""
    found = running(mesh)
    one = _remembered(found, request_id)
    tables = build_tables(decode_snapshot(found.text("/snapshot")))
    now = _judged_now(one, tables)
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


def _judged_now(one: Refusal, tables: Tables) -> JudgedCall | None:
    """What would be said now; None for what policies have no part in, or where caller or service have gone."""
    target = tables.by_name.get((one.destination, one.port))
    who = tables.callers.get(one.pod) if one.pod else ANONYMOUS
    if one.reason not in OF_POLICY or target is None or who is None:
        return None
    return judge_call(tables, target, who, request_view(one.method, one.path, one.host, ()))


def _show(one: Refusal) -> None:
    reasons = {reason.code: reason for reason in Reason}
    reason = reasons.get(one.reason)
    verdict = f"denied: by policy {one.policy}" if one.policy else f"{one.reason}: {reason.meaning if reason else ''}"
    show(red(verdict))
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.time))
    what = f"{one.method} {one.path}" if one.method else "no valid request"
    show(f"{one.source} → {one.destination}{f':{one.port}' if one.port else ''}, {what}")
    show(f"at {when}, by generation {one.generation}")
    if one.trace:
        show(f"trace {one.trace}")
    if reason is not None and one.reason not in OF_POLICY:
        again = "sending it again may help" if reason.retryable else "sending it again would not help"
        show(f"fault: {reason.fault.value}; {again}")
