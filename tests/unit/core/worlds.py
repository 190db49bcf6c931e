"""A mesh of two services for the tests of tulle.core."""

from tulle.core.request import RequestView, canonical_host, canonical_path
from tulle.wire.snapshot import (
    Action,
    Backend,
    Caller,
    Door,
    HostEndpoint,
    Operation,
    PodEndpoint,
    Policy,
    Route,
    Rule,
    Service,
    ServicePort,
    Snapshot,
    Source,
    WeightedBackend,
)

WEB = Caller(pod="default/web", principal="shop/ns/default/sa/web", namespace="default", service="default/web")

READERS = Policy(
    name="default/readers",
    action=Action.ALLOW,
    rules=(
        Rule(sources=(Source(principals=("*/sa/web",)),), operations=(Operation(methods=("GET",), paths=("/o/*",)),)),
    ),
)

ORDERS = Service(
    name="default/orders",
    address="127.80.0.1",
    policies=("default/readers",),
    ports=(
        ServicePort(
            port=80,
            target_port=9000,
            routes=(Route(name="default/orders", backends=(WeightedBackend(backend="orders"),)),),
            backends=(WeightedBackend(backend="orders"),),
        ),
    ),
)

SHOP = Snapshot(
    generation=7,
    mesh="shop",
    trust_domain="shop",
    callers=(WEB,),
    services=(ORDERS,),
    policies=(READERS,),
    backends=(
        Backend(
            name="orders",
            service="default/orders",
            version="v1",
            endpoints=(
                PodEndpoint(workload="default/orders", port=9000),
                HostEndpoint(workload="default/legacy", host="127.0.0.1", port=9000),
            ),
        ),
    ),
    doors=(Door(port=8080, service="default/orders", service_port=80),),
)


def request(method: str, path: str, host: str = "orders", *headers: tuple[bytes, bytes]) -> RequestView:
    """A request as the proxy would see it."""
    readings, named = canonical_path(path), canonical_host(host)
    assert readings is not None
    assert named is not None
    return RequestView(method, *readings, named, list(headers))
