"""Callers and policies, as the data plane needs them."""

from collections.abc import Collection

from tulle.compiler.index import Index
from tulle.model import resources as model
from tulle.model.names import qualify
from tulle.model.workloads import Workload
from tulle.wire.snapshot import Action, Caller, Operation, Policy, Rule, Source


def callers(index: Index) -> tuple[Caller, ...]:
    """Everyone whom the mesh knows when they call, by pod."""
    return tuple(_caller(index, one) for one in index.workloads.values() if one.attested)


def policies(index: Index) -> tuple[Policy, ...]:
    """Every policy, by name."""
    return tuple(
        Policy(name=name, action=Action(one.spec.action.value), rules=tuple(map(_rule, one.spec.rules)))
        for name, one in index.policies.items()
    )


def _caller(index: Index, workload: Workload) -> Caller:
    calls, namespace = workload.spec.calls, str(workload.metadata.namespace)
    return Caller(
        pod=workload.qualified,
        principal=index.principal(workload),
        namespace=namespace,
        service=index.primary.get(workload.qualified, workload.qualified),
        calls=None if calls is None else tuple(sorted({qualify(one, namespace) for one in calls})),
    )


def _rule(rule: model.Rule) -> Rule:
    return Rule(
        sources=tuple([_source(one.source) for one in rule.from_ or ()]),
        operations=tuple([_operation(one.operation) for one in rule.to or ()]),
    )


def _source(source: model.Source) -> Source:
    return Source(
        principals=_texts(source.principals),
        not_principals=_texts(source.not_principals),
        namespaces=_texts(source.namespaces),
        not_namespaces=_texts(source.not_namespaces),
    )


def _operation(operation: model.Operation) -> Operation:
    return Operation(
        methods=_texts(operation.methods),
        not_methods=_texts(operation.not_methods),
        paths=_texts(operation.paths),
        not_paths=_texts(operation.not_paths),
        hosts=_texts([one.lower() for one in operation.hosts]),
        not_hosts=_texts([one.lower() for one in operation.not_hosts]),
        ports=operation.ports,
        not_ports=operation.not_ports,
    )


def _texts(words: Collection[str]) -> tuple[str, ...]:
    return tuple(map(str, words)) if words else ()
