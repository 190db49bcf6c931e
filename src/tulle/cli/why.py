"""`tulle why`: may this caller make this request, and by which rule. The proxy's own decision, explained."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tulle.cli.options import files_option, json_option, mesh_option
from tulle.cli.words import Ended, Exit, Failure, green, red, show, show_json

if TYPE_CHECKING:
    from tulle.core.backends import RouteTable
    from tulle.core.policies import CallerRef
    from tulle.core.request import RequestView
    from tulle.core.tables import ServicePortTable, Tables
    from tulle.core.trace import Explanation, RuleTrace
    from tulle.wire.snapshot import Snapshot

ANONYMOUS_NAME = "anonymous"


@click.command()
@click.argument("caller", metavar="FROM")
@click.argument("service", metavar="TO")
@click.option("--method", default="GET", show_default=True, help="HTTP method.")
@click.option("--path", default="/", show_default=True, help="Path, without query.")
@click.option("--host", default="", help="Host asked for; the service's name unless said.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Repeatable.")
@click.option("--port", type=int, help="Of the service; its only or first one unless said.")
@click.option("--tcp", is_flag=True, help="An opaque connection instead of a request.")
@files_option("Ask these manifests instead of the running mesh; repeatable.")
@mesh_option
@json_option
def why(
    caller: str,
    service: str,
    method: str,
    path: str,
    host: str,
    headers: tuple[str, ...],
    port: int | None,
    tcp: bool,
    paths: tuple[Path, ...],
    mesh: str | None,
    as_json: bool,
) -> None:
    """Explain whether FROM may call TO: exits 0 when allowed, 1 when denied.

    FROM is a service or workload (`web`, `prod/payments`), or `anonymous`; TO is a service. The namespace is
    `default` unless said.
    """
    from tulle.core.authorize import explain
    from tulle.core.route import match_route
    from tulle.core.tables import build_tables
    from tulle.core.verdict import Allow

    snapshot = _snapshot(paths, mesh)
    tables = build_tables(snapshot)
    target = _target(tables, service, port)
    who = _caller(tables, caller)
    tcp = tcp or target.protocol.value == "tcp"
    view = None if tcp else _view(method, path, host or target.service.partition("/")[2], headers)
    found = explain(target, who, view)
    route = target.opaque if view is None else match_route(target, view)
    allowed = isinstance(found.verdict, Allow)
    shares = _shares(route) if route else []
    if as_json:
        show_json(
            {
                "allowed": allowed,
                "by": found.verdict.by,
                "reason": None if isinstance(found.verdict, Allow) else found.verdict.reason.code,
                "shadow": tables.shadow,
                "caller": {"pod": who.pod, "principal": who.principal},
                "service": target.service,
                "port": target.port,
                "calls_hold": found.calls_hold,
                "route": route.name if route else None,
                "backends": [{"backend": name, "weight": weight} for name, weight in shares],
                "policies": [_policy_document(policy) for policy in found.policies],
            }
        )
    else:
        _show(found, who, target, view)
        if route is None:
            show(red("no route of the service matches this request: 404 no-route"))
        elif allowed:
            total = sum(weight for _, weight in shares) or 1
            show(f"route {route.name}: " + ", ".join(f"{name} {100 * w / total:.3g} %" for name, w in shares))
        if tables.shadow and not allowed:
            show("the mesh runs in shadow mode: it passes, and is counted")
    if not allowed:
        raise Ended(Exit.REFUSED)


def _shares(route: "RouteTable") -> list[tuple[str, int]]:
    weights = [bound - below for below, bound in zip([0, *route.bounds], route.bounds, strict=False)]
    return [(backend.name, weight) for backend, weight in zip(route.backends, weights, strict=True)]


def _snapshot(paths: tuple[Path, ...], mesh: str | None) -> "Snapshot":
    if paths:
        from tulle.cli.manifests import read_and_compile

        return read_and_compile(paths)[1].snapshot
    from tulle.cli.running import running
    from tulle.wire.snapshot import decode_snapshot

    return decode_snapshot(running(mesh).text("/snapshot"))


def _target(tables: "Tables", service: str, port: int | None) -> "ServicePortTable":
    name = _qualified(service)
    ports = sorted(number for one, number in tables.by_name if one == name)
    if not ports:
        raise _unknown("unknown-service", f"no service named `{service}`", service, {one for one, _ in tables.by_name})
    if port is not None and port not in ports:
        known = ", ".join(map(str, ports))
        raise Failure("unknown-port", f"{name} has no port {port}", hint=f"it has {known}", exit=Exit.USAGE)
    return tables.by_name[(name, port or ports[0])]


def _caller(tables: "Tables", caller: str) -> "CallerRef":
    from tulle.core.policies import ANONYMOUS

    if caller == ANONYMOUS_NAME:
        return ANONYMOUS
    name = _qualified(caller)
    if name in tables.callers:
        return tables.callers[name]
    for one in sorted(tables.callers):
        if tables.callers[one].service == name:
            return tables.callers[one]
    known = {one.service for one in tables.callers.values()} | set(tables.callers) | {ANONYMOUS_NAME}
    raise _unknown("unknown-caller", f"nothing named `{caller}` is attested in this mesh", caller, known)


def _unknown(code: str, message: str, name: str, known: Iterable[str]) -> Failure:
    from tulle.model.place import nearest

    everything = sorted(known)
    hint = nearest(_qualified(name), everything) or f"there is: {', '.join(everything[:12])}"
    return Failure(code, message, hint=hint, exit=Exit.USAGE)


def _qualified(name: str) -> str:
    return name if "/" in name else f"default/{name}"


def _view(method: str, path: str, host: str, headers: tuple[str, ...]) -> "RequestView":
    from tulle.core.request import RequestView, canonical_host, canonical_path

    readings, name = canonical_path(path), canonical_host(host)
    if readings is None:
        raise Failure("bad-request", f"the proxy refuses the path {path!r}", hint="400 bad-request, before any policy")
    if name is None:
        raise Failure("bad-request", f"the proxy refuses the host {host!r}", hint="400 bad-request, before any policy")
    pairs = []
    for header in headers:
        key, colon, value = header.partition(":")
        if not colon:
            raise Failure("bad-header", f"not a header: {header!r}", hint="NAME:VALUE", exit=Exit.USAGE)
        pairs.append((key.strip().lower().encode(), value.strip().encode()))
    return RequestView(method, *readings, name, pairs)


def _show(found: "Explanation", who: "CallerRef", target: "ServicePortTable", view: "RequestView | None") -> None:
    from tulle.core.verdict import Allow

    what = "opaque TCP" if view is None else f"{view.method} {view.path}"
    caller = f"{who.service} ({who.principal})" if who.principal else ANONYMOUS_NAME
    verdict = found.verdict
    if isinstance(verdict, Allow):
        by = f"by policy {verdict.by}" if verdict.by else "no ALLOW policy guards this service"
        show(f"{green('allowed')}: {by}")
    elif verdict.by:
        show(f"{red('denied')}: by policy {verdict.by}")
    elif not found.calls_hold:
        show(f"{red('denied')}: `calls` of {who.service} does not name {target.service}")
    else:
        show(f"{red('denied')}: no policy allows it")
    show(f"{caller} → {target.service}:{target.port}, {what}")
    show("")
    for policy in found.policies:
        show(f"{policy.action} {policy.name}" + ("" if policy.rules else ": no rule, matches nothing"))
        for rule in policy.rules:
            show(f"    rule {rule.number}: {_rule_words(rule)}")
    if found.nearest is not None and found.nearest.failed:
        show(f"nearest: {found.nearest.policy} rule {found.nearest.number}; {_rule_words(found.nearest)}")


def _rule_words(rule: "RuleTrace") -> str:
    return "matches" if rule.matched else "does not match: " + "; ".join(map(str, rule.failed))


def _policy_document(policy: "object") -> dict[str, object]:
    from tulle.core.trace import PolicyTrace

    assert isinstance(policy, PolicyTrace)  # noqa: S101
    return {
        "name": policy.name,
        "action": policy.action,
        "rules": [
            {"number": rule.number, "matched": rule.matched, "failed": [str(field) for field in rule.failed]}
            for rule in policy.rules
        ],
    }
