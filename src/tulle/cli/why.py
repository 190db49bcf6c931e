"""`tulle why`: may this caller make this request, and by which rule. The proxy's own decision, explained."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tulle.cli.options import files_option, json_option, mesh_option
from tulle.cli.words import Ended, Exit, Failure, green, red, show, show_json
from tulle.model.names import qualify

if TYPE_CHECKING:
    from tulle.core.backends import RouteTable
    from tulle.core.policies import CallerRef
    from tulle.core.request import RequestView
    from tulle.core.tables import ServicePortTable, Tables
    from tulle.core.trace import Explanation, PolicyTrace, RuleTrace
    from tulle.wire.snapshot import Snapshot

ANONYMOUS_NAME = "anonymous"


@click.command()
@click.argument("caller", metavar="FROM|REQUEST-ID")
@click.argument("service", metavar="[TO]", required=False)
@click.option("--method", help="HTTP method; GET unless said, POST where the path is a gRPC method.")
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
    service: str | None,
    method: str | None,
    path: str,
    host: str,
    headers: tuple[str, ...],
    port: int | None,
    tcp: bool,
    paths: tuple[Path, ...],
    mesh: str | None,
    as_json: bool,
) -> None:
    """Explain whether FROM may call TO, or why a request was refused: exits 0 when allowed, 1 when denied.

    FROM is a service or workload (`web`, `prod/payments`), or `anonymous`; TO is a service. The namespace is
    `default` unless said. REQUEST-ID is the `x-request-id` of a recent answer that the proxy gave by itself.
    """
    from tulle.core.tables import build_tables

    if service is None:
        from tulle.cli.refusals import explain_refusal

        if paths:
            raise click.UsageError("a request id is of the running mesh: leave --file out, or say FROM and TO")
        explain_refusal(caller, mesh, as_json=as_json)
    tables = build_tables(_snapshot(paths, mesh))
    target = _target(tables, service, port)
    who = _caller(tables, caller)
    is_opaque = tcp or target.protocol.value == "tcp"
    name = host or target.service.partition("/")[2]
    view = None if is_opaque else request_view(method or _method(target, path), path, name, headers)
    judged = judge_call(tables, target, who, view)
    if as_json:
        show_json(judged.document())
    else:
        judged.show()
    if not judged.is_allowed:
        raise Ended(Exit.REFUSED)


def _method(target: "ServicePortTable", path: str) -> str:
    """What asks for such a path: gRPC's `/package.Service/Method` is called by POST."""
    is_call = target.protocol.value == "http2" and re.fullmatch(r"/(\w+\.)+\w+/\w+", path)
    return "POST" if is_call else "GET"


@dataclass(frozen=True, slots=True)
class JudgedCall:
    """A call, its verdict, and where it would go."""

    target: "ServicePortTable"
    who: "CallerRef"
    view: "RequestView | None"
    found: "Explanation"
    route: "RouteTable | None"
    shadow: bool

    @property
    def is_allowed(self) -> bool:
        """What policies say; a route may still be missing."""
        from tulle.core.verdict import Allow

        return isinstance(self.found.verdict, Allow)

    def document(self) -> dict[str, object]:
        """For programs."""
        from tulle.core.verdict import Allow

        verdict, route = self.found.verdict, self.route
        return {
            "allowed": self.is_allowed,
            "by": verdict.by,
            "reason": None if isinstance(verdict, Allow) else verdict.reason.code,
            "shadow": self.shadow,
            "caller": {"pod": self.who.pod, "principal": self.who.principal},
            "service": self.target.service,
            "port": self.target.port,
            "calls_hold": self.found.calls_hold,
            "route": route.name if route else None,
            "backends": [{"backend": name, "weight": weight} for name, weight in _shares(route)],
            "policies": [_policy_document(policy) for policy in self.found.policies],
        }

    def show(self) -> None:
        """For people."""
        _show(self.found, self.who, self.target, self.view)
        if self.route is None:
            show(red("no route of the service matches this request: 404 no-route"))
        elif self.is_allowed:
            shares = _shares(self.route)
            total = sum(weight for _, weight in shares) or 1
            show(f"route {self.route.name}: " + ", ".join(f"{name} {100 * w / total:.3g} %" for name, w in shares))
        if self.shadow and not self.is_allowed:
            show("the mesh runs in shadow mode: it passes, and is counted")


def judge_call(
    tables: "Tables", target: "ServicePortTable", who: "CallerRef", view: "RequestView | None"
) -> JudgedCall:
    """What the proxy would do; with None, of an opaque connection."""
    from tulle.core.authorize import explain
    from tulle.core.route import match_route

    route = target.opaque if view is None else match_route(target, view)
    return JudgedCall(target, who, view, explain(target, who, view), route, tables.shadow)


def _shares(route: "RouteTable | None") -> list[tuple[str, int]]:
    if route is None:
        return []
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
    name = qualify(service)
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
    name = qualify(caller)
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
    hint = nearest(qualify(name), everything) or f"there is: {', '.join(everything[:12])}"
    return Failure(code, message, hint=hint, exit=Exit.USAGE)


def request_view(method: str, path: str, host: str, headers: tuple[str, ...]) -> "RequestView":
    """A request as the proxy would read it."""
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
    show_policies(found)
    if found.nearest is not None and found.nearest.failed:
        show(f"nearest: {found.nearest.policy} rule {found.nearest.number}; {_rule_words(found.nearest)}")


def show_policies(found: "Explanation") -> None:
    """Every policy that guards the service, and what each of its rules came to."""
    for policy in found.policies:
        show(f"{policy.action} {policy.name}" + ("" if policy.rules else ": no rule, matches nothing"))
        for rule in policy.rules:
            show(f"    rule {rule.number}: {_rule_words(rule)}")


def _rule_words(rule: "RuleTrace") -> str:
    """Whether it matches, or every field that keeps it from it."""
    return "matches" if rule.matched else "does not match: " + "; ".join(map(str, rule.failed))


def _policy_document(policy: "PolicyTrace") -> dict[str, object]:
    return {
        "name": policy.name,
        "action": policy.action,
        "rules": [
            {"number": rule.number, "matched": rule.matched, "failed": [str(field) for field in rule.failed]}
            for rule in policy.rules
        ],
    }
