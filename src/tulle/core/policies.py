"""Policies ready to be judged: each field a check, each policy its verdict, each caller its part of them."""

from collections.abc import Callable, Iterable
from typing import Final, final

from tulle.core.patterns import ValueSet
from tulle.core.request import RequestView, canonical_pattern, folded_pattern
from tulle.core.verdict import Allow, Deny
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Action, Operation, Policy, Source

PRINCIPAL: Final = 0
NAMESPACE: Final = 1
PORT: Final = 2
METHOD: Final = 3
PATH: Final = 4
HOST: Final = 5


@final
class CallerRef:
    """Who calls. Look it up again after a new snapshot: only one that did not change is the same object."""

    __slots__ = ("calls", "namespace", "pod", "principal", "service")

    def __init__(self, pod: str, principal: str, namespace: str, service: str, calls: ValueSet | None) -> None:
        self.pod: str = pod
        """`namespace/workload`; empty for a caller that came otherwise."""
        self.principal: str = principal
        """Empty: anonymous; matches no principal or namespace, not even `*`."""
        self.namespace: str = namespace
        self.service: str = service
        """Source label of metrics."""
        self.calls: ValueSet | None = calls
        """Services it may call; None: whatever lets it in."""

    def __repr__(self) -> str:
        return f"CallerRef({self.principal or 'anonymous'})"


ANONYMOUS: Final = CallerRef("", "", "", "anonymous", None)
"""Whoever could not be attested."""


@final
class FieldCheck:
    """One field of a rule: its patterns, and whether matching them is wanted or unwanted."""

    __slots__ = ("folded", "kind", "label", "negative", "patterns", "ports", "values")

    def __init__(self, kind: int, label: str, negative: bool, patterns: tuple[str, ...]) -> None:
        self.kind: int = kind
        self.label: str = label
        """As the policy's author wrote it: `notPaths`."""
        self.negative: bool = negative
        self.patterns: tuple[str, ...] = patterns
        texts: Iterable[str] = patterns
        if kind == PATH:
            texts = [_with_stars(pattern, canonical_pattern) for pattern in patterns]
        elif kind == HOST:
            texts = [pattern.lower() for pattern in patterns]
        self.values: ValueSet = ValueSet(texts)
        self.folded: ValueSet = self.values
        """The same patterns for folded paths; the same object where they read alike."""
        if kind == PATH:
            folded = [_with_stars(pattern, folded_pattern) for pattern in patterns]
            if folded != texts:
                self.folded = ValueSet(folded)
        self.ports: frozenset[int] = frozenset(int(port) for port in patterns) if kind == PORT else frozenset()

    @property
    def folds(self) -> bool:
        """Whether it may match a path by its folded reading that it does not match by the other, though both are the same."""
        return self.folded is not self.values

    def holds_for_caller(self, caller: CallerRef) -> bool:
        """Whether a PRINCIPAL or NAMESPACE field lets this caller's rule match."""
        value = caller.principal if self.kind == PRINCIPAL else caller.namespace
        return self.values.matches(value) != self.negative

    def holds_for_port(self, port: int) -> bool:
        """Whether a PORT field lets the rule match."""
        return (port in self.ports) != self.negative

    def holds_for_request(self, request: RequestView, folded: bool) -> bool:
        """Whether an HTTP field lets the rule match, in one reading of the path."""
        if self.kind == METHOD:
            return self.values.matches(request.method) != self.negative
        if self.kind == HOST:
            return self.values.matches(request.host) != self.negative
        if folded:
            return self.folded.matches(request.folded) != self.negative
        return self.values.matches(request.path) != self.negative


@final
class RuleTable:
    """Matches when all checks of any source and all of any operation hold."""

    __slots__ = ("operations", "sources")

    def __init__(self, sources: list[list[FieldCheck]], operations: list[list[FieldCheck]]) -> None:
        self.sources: list[list[FieldCheck]] = sources
        """Never empty: a rule without sources has one that checks nothing."""
        self.operations: list[list[FieldCheck]] = operations
        """Never empty, likewise. Port fields come first."""


@final
class PolicyTable:
    """One policy and the verdict it gives when a rule matches."""

    __slots__ = ("denies", "name", "rules", "verdict")

    def __init__(self, policy: Policy) -> None:
        self.name: str = policy.name
        self.denies: bool = policy.action is Action.DENY
        self.verdict: Allow | Deny = Deny(policy.name, Reason.DENIED) if self.denies else Allow(policy.name)
        self.rules: list[RuleTable] = [
            RuleTable(
                [_source_checks(source) for source in rule.sources] or [[]],
                [_operation_checks(operation) for operation in rule.operations] or [[]],
            )
            for rule in policy.rules
        ]


def _with_stars(pattern: str, reading: Callable[[str], str]) -> str:
    """Reads what stands beside the star; `*` of a pattern is no part of the path."""
    if pattern == "*":
        return pattern
    if pattern.endswith("*"):
        return reading(pattern[:-1]) + "*"
    if pattern.startswith("*"):
        return "*" + reading(pattern[1:])
    return reading(pattern)


def _source_checks(source: Source) -> list[FieldCheck]:
    return _checks(
        (PRINCIPAL, "principals", source.principals, source.not_principals),
        (NAMESPACE, "namespaces", source.namespaces, source.not_namespaces),
    )


def _operation_checks(operation: Operation) -> list[FieldCheck]:
    return _checks(
        (PORT, "ports", tuple(map(str, operation.ports)), tuple(map(str, operation.not_ports))),
        (METHOD, "methods", operation.methods, operation.not_methods),
        (HOST, "hosts", operation.hosts, operation.not_hosts),
        (PATH, "paths", operation.paths, operation.not_paths),
    )


def _checks(*fields: tuple[int, str, tuple[str, ...], tuple[str, ...]]) -> list[FieldCheck]:
    checks: list[FieldCheck] = []
    for kind, label, wanted, unwanted in fields:
        if wanted:
            checks.append(FieldCheck(kind, label, False, wanted))
        if unwanted:
            checks.append(FieldCheck(kind, f"not{label[0].upper()}{label[1:]}", True, unwanted))
    return checks
