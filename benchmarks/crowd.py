"""A mesh of many services, of which the bench calls one: what the others cost it should be nothing."""

import msgspec

from tulle.wire import snapshot as wire

POLICIES_EACH = 10


def crowded(snapshot: wire.Snapshot, services: int) -> wire.Snapshot:
    """The mesh with so many services; each of the new ones has a route, two versions and ten policies of its own."""
    if services <= 1:
        return snapshot
    called = snapshot.services[0]
    policies, backends, crowd = list(snapshot.policies), list(snapshot.backends), list(snapshot.services)
    for number in range(1, services):
        name = f"prod/crowd{number:04}"
        own = [_policy(f"{name}-{n}", f"/{n}/*") for n in range(POLICIES_EACH)]
        versions = [
            msgspec.structs.replace(one, name=f"{name}-{one.version}:9000", service=name) for one in snapshot.backends
        ]
        shares = tuple(
            wire.WeightedBackend(backend=one.name, weight=weight) for one, weight in zip(versions, (99, 1), strict=True)
        )
        port = msgspec.structs.replace(called.ports[0], routes=(wire.Route(name=f"{name}#0", backends=shares),))
        address = f"127.80.{1 + number // 250}.{1 + number % 250}"
        names = tuple(policy.name for policy in own)
        crowd.append(wire.Service(name=name, address=address, ports=(port,), policies=names))
        policies += own
        backends += versions
    return msgspec.structs.replace(snapshot, services=tuple(crowd), policies=tuple(policies), backends=tuple(backends))


def _policy(name: str, path: str) -> wire.Policy:
    operation = wire.Operation(methods=("GET", "POST"), paths=(path,))
    return wire.Policy(name=name, action=wire.Action.ALLOW, rules=(wire.Rule(operations=(operation,)),))
