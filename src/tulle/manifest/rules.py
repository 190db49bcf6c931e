"""Rules of the mesh file → rules of an AuthorizationPolicy: callers by name become principals and namespaces."""

from collections.abc import Iterable, Iterator

from tulle.manifest.meshfile import AccessRule, MeshRule
from tulle.model.names import QualifiedName, SpiffeId, qualify
from tulle.model.place import Word, place_of
from tulle.model.resources import From, Operation, Rule, Source, To


def policy_rule(rule: AccessRule | MeshRule, namespace: str, trust_domain: str) -> Rule:
    """What a rule written in a namespace means."""
    operation = Operation(methods=rule.methods, paths=rule.paths, hosts=rule.hosts, ports=rule.ports)
    to = None if operation == Operation() else (To(operation=operation),)
    sources = None if rule.from_ is None else tuple(_sources(rule.from_, namespace, trust_domain))
    return Rule(from_=sources, to=to, place=rule.place)


def qualified(written: str, namespace: str) -> str:
    """As `qualify`, and still knows where it was written."""
    name = qualify(written, namespace)
    return written if name == written else Word.at(name, place_of(written))


def _sources(callers: Iterable[str], namespace: str, trust_domain: str) -> Iterator[From]:
    names = [qualified(one, namespace) for one in callers]
    principals = tuple(_principal(one, trust_domain) for one in names if not one.endswith("/*"))
    namespaces = tuple(Word.at(one[:-2], place_of(one)) for one in names if one.endswith("/*"))
    if principals:
        yield From(source=Source(principals=principals))
    if namespaces:
        yield From(source=Source(namespaces=namespaces))


def _principal(pattern: str, trust_domain: str) -> str:
    if pattern == "*":
        return pattern
    name = QualifiedName.parse(pattern)
    return Word.at(SpiffeId.of(trust_domain, name.namespace, name.name).principal, place_of(pattern))
