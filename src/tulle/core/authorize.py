"""May this caller make this request: the one place that says so, to the proxy and to `tulle why`."""

from typing import Final

from tulle.core.calls import may_call
from tulle.core.operations import WIDE, Entry, Index, Operations
from tulle.core.pieces import at_once
from tulle.core.plans import CallerPlan
from tulle.core.policies import (
    ANONYMOUS,
    HOST,
    METHOD,
    NAMESPACE,
    PORT,
    PRINCIPAL,
    CallerRef,
    FieldCheck,
    PolicyTable,
)
from tulle.core.request import RequestView
from tulle.core.tables import ServicePortTable
from tulle.core.trace import Explanation, FailedField, PolicyTrace, RuleTrace
from tulle.core.verdict import Allow, Deny
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Protocol

__all__ = ["ANONYMOUS", "Allow", "Deny", "explain", "judge", "judge_connection"]

MAX_PLANS: Final = 4096
"""Callers remembered per service port; beyond, all are forgotten and made anew."""

_NOTHING_ALLOWED: Final = Deny(None, Reason.DENIED)
_NOT_CALLED: Final = Deny(None, Reason.CALLS_DENIED)
_NOTHING_TO_ASK: Final = Allow(None)


def judge(port: ServicePortTable, caller: CallerRef, request: RequestView | None) -> Allow | Deny:
    """Judges one request, or with None opaque TCP. Closed by default: no matching rule is a denial.

    DENY policies first, then the caller's `calls`, then ALLOW policies; of several that match the first by name is
    named. Allowed by None when no ALLOW policy selects the service. For opaque TCP the HTTP fields of an ALLOW rule
    never match, and those of a DENY rule are ignored. An ALLOW rule must match both readings of the path, a DENY rule
    either.
    """
    plan = port.plans.get(caller)
    if plan is None:
        plan = _remember(port, caller)
    if request is None:
        return plan.opaque
    if plan.constant is not None:
        return plan.constant
    if plan.denied or plan.allowed:
        return _judge_wide(port, caller, plan, request)
    for entry in plan.denies:
        if entry.holds(request, True):
            return entry.verdict
    for entry in plan.allows:
        if entry.holds(request, False):
            return entry.verdict
    return plan.otherwise


def judge_connection(port: ServicePortTable, caller: CallerRef) -> Allow | Deny:
    """A denial when the caller may say nothing at all there; else what it says is judged when it says it."""
    opaque = judge(port, caller, None)
    if port.protocol is Protocol.TCP:
        return opaque
    constant = port.plans[caller].constant
    if isinstance(constant, Deny) and (port.protocol is not Protocol.DETECT or isinstance(opaque, Deny)):
        return constant
    return _NOTHING_TO_ASK


def _remember(port: ServicePortTable, caller: CallerRef) -> CallerPlan:
    if len(port.plans) >= MAX_PLANS:
        port.plans.clear()
    plan = port.plans[caller] = _plan(port, caller)
    return plan


def _judge_wide(port: ServicePortTable, caller: CallerRef, plan: CallerPlan, request: RequestView) -> Allow | Deny:
    """As `judge`, where there are so many operations that they are looked up."""
    denied = _first(plan.denies, plan.denied, True, port, caller, request)
    if denied is not None:
        return denied.verdict
    allowed = _first(plan.allows, plan.allowed, False, port, caller, request)
    return plan.otherwise if allowed is None else allowed.verdict


def _first(
    entries: list[Entry],
    indexes: list[Index],
    is_deny: bool,
    port: ServicePortTable,
    caller: CallerRef,
    request: RequestView,
) -> Entry | None:
    found: Entry | None = None
    for index in indexes:
        found = index.first(caller, port.target_port, request, found)
    for entry in entries:
        if found is not None and entry.place > found.place:
            break
        if entry.holds(request, is_deny):
            return entry
    return found


def _plan(port: ServicePortTable, caller: CallerRef) -> CallerPlan:
    """All of a judgement that does not depend on the request."""
    denied: list[Index] = []
    allowed: list[Index] = []
    denies, first_denied = _concerning(port.authz.denied, port, caller, denied)
    allows: list[Entry] = []
    first_allowed: Entry | None = None
    otherwise: Allow | Deny = _NOTHING_ALLOWED if port.authz.allows else _NOTHING_TO_ASK
    if not may_call(caller, port.service):
        otherwise = _NOT_CALLED
    else:
        allows, first_allowed = _concerning(port.authz.allowed, port, caller, allowed)
    constant: Allow | Deny | None = None
    opaque = otherwise
    if denies or first_denied is not None:
        constant = _always(denies, first_denied)
        opaque = denies[0].verdict if denies else otherwise
        if first_denied is not None and (not denies or first_denied.place < denies[0].place):
            opaque = first_denied.verdict
    else:
        constant = _always(allows, first_allowed) if allows or first_allowed is not None else otherwise
        for entry in allows:
            if not entry.fields:
                opaque = entry.verdict
    return CallerPlan(denies, allows, otherwise, constant, opaque, denied, allowed)


def _always(entries: list[Entry], looked_up: Entry | None) -> Allow | Deny | None:
    """The verdict of the first, when it matches every request and nothing comes before it."""
    if not entries or entries[0].fields or (looked_up is not None and looked_up.place < entries[0].place):
        return None
    return entries[0].verdict


def _concerning(
    operations: Operations, port: ServicePortTable, caller: CallerRef, indexes: list[Index]
) -> tuple[list[Entry], Entry | None]:
    """What is asked one by one of this caller's requests, and the first of what is looked up in `indexes`; None: nothing is."""
    concerned = [entry for entry in operations.others if entry.concerns(caller, port.target_port)]
    first = operations.index.first_that_concerns(caller, port.target_port)
    if first is not None:
        indexes.append(operations.index)
    keyed = [entry for entry in concerned if entry.path() is not None]
    if len(keyed) >= WIDE:
        own = Index(operations.is_deny, keyed)
        at_once(own.fill())
        indexes.append(own)
        concerned = [entry for entry in concerned if entry.path() is None]
        if first is None or keyed[0].place < first.place:
            first = keyed[0]
    return _until_certain(concerned), first


def _until_certain(entries: list[Entry]) -> list[Entry]:
    """What comes after one that always matches is never reached."""
    for index, entry in enumerate(entries):
        if not entry.fields:
            return entries[: index + 1]
    return entries


def explain(port: ServicePortTable, caller: CallerRef, request: RequestView | None) -> Explanation:
    """The verdict of `judge`, with every policy considered and the field at which each rule failed."""
    verdict = judge(port, caller, request)
    calls_hold = may_call(caller, port.service)
    policies = tuple(
        PolicyTrace(
            policy.name,
            "DENY" if policy.denies else "ALLOW",
            tuple(_trace(policy, index, port, caller, request) for index in range(len(policy.rules))),
        )
        for policy in [*port.authz.denies, *port.authz.allows]
    )
    nearest: RuleTrace | None = None
    if isinstance(verdict, Deny) and verdict.by is None:
        for policy in policies:
            for rule in policy.rules if policy.action == "ALLOW" else ():
                if nearest is None or len(rule.failed) < len(nearest.failed):
                    nearest = rule
    return Explanation(verdict, calls_hold, policies, nearest)


def _failed_sources(source: list[FieldCheck], caller: CallerRef) -> list[FieldCheck]:
    return [field for field in source if not field.holds_for_caller(caller)]


def _trace(
    policy: PolicyTable, index: int, port: ServicePortTable, caller: CallerRef, request: RequestView | None
) -> RuleTrace:
    best: list[FailedField] | None = None
    rule = policy.rules[index]
    for source in rule.sources:
        by_source = [_failed(field, port, caller, request) for field in _failed_sources(source, caller)]
        for operation in rule.operations:
            failed = by_source + _failed_operation(policy.denies, operation, port, caller, request)
            if best is None or len(failed) < len(best):
                best = failed
    return RuleTrace(policy.name, index, tuple(best or ()))


def _failed_operation(
    denies: bool, operation: list[FieldCheck], port: ServicePortTable, caller: CallerRef, request: RequestView | None
) -> list[FailedField]:
    ports = [field for field in operation if field.kind == PORT and not field.holds_for_port(port.target_port)]
    rest = [field for field in operation if field.kind != PORT]
    failed: list[FieldCheck] = []
    if request is None:
        failed = [] if denies else rest
    else:
        canonical = [field for field in rest if not field.holds_for_request(request, False)]
        folded = [field for field in rest if not field.holds_for_request(request, True)]
        if denies:
            failed = canonical if len(canonical) <= len(folded) else folded
        else:
            failed = [field for field in rest if field in canonical or field in folded]
    return [_failed(field, port, caller, request) for field in ports + failed]


def _failed(field: FieldCheck, port: ServicePortTable, caller: CallerRef, request: RequestView | None) -> FailedField:
    value = ""
    if field.kind == PRINCIPAL:
        value = caller.principal
    elif field.kind == NAMESPACE:
        value = caller.namespace
    elif field.kind == PORT:
        value = str(port.target_port)
    elif request is not None:
        if field.kind == METHOD:
            value = request.method
        elif field.kind == HOST:
            value = request.host
        else:
            value = request.path if request.path == request.folded else f"{request.path} ({request.folded})"
    return FailedField(field.label, field.patterns, value)
