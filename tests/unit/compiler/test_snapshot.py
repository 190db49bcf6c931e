"""What resources become for the data plane."""

import random
from dataclasses import replace

import pytest

from tests.support.manifests import FACTS, compiled, loaded
from tulle.compiler import Compiled, compile_mesh
from tulle.manifest import Loaded, parse
from tulle.wire.snapshot import (
    Caller,
    Door,
    HostEndpoint,
    PodEndpoint,
    Protocol,
    Route,
    Service,
    WeightedBackend,
    decode_snapshot,
    encode_snapshot,
)

SHOP = """
    mesh: shop
    services:
      web:
        run: serve
        port: 8080
        expose: 18080
        allow: [{}]
        calls: [orders, prod/pay]
      orders:
        port: 9000
        versions: {v1: {run: a, weight: 99}, v2: {run: b, weight: 1}}
        allow: [{from: [web]}]
      pay: {namespace: prod, run: pay, port: 80, protocol: http, isolation: none}
    external:
      db: {host: db.example, port: 5432, protocol: tcp}
    """


def service(text: str, name: str) -> Service:
    return next(one for one in compiled(text).snapshot.services if one.name == name)


def test_order_of_resources_and_files_changes_nothing() -> None:
    resources = list(loaded(SHOP).resources)
    expected = compile_mesh(resources, FACTS)

    for seed in range(10):
        random.Random(seed).shuffle(resources)
        assert compile_mesh(resources, FACTS) == expected


def test_a_snapshot_survives_the_wire() -> None:
    snapshot = compiled(SHOP).snapshot

    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


def test_weights_lead_to_the_versions() -> None:
    shares = (
        WeightedBackend(backend="default/orders-v1:9000", weight=99),
        WeightedBackend(backend="default/orders-v2:9000", weight=1),
    )

    for port in service(SHOP, "default/orders").ports:
        assert port.routes == (Route(name="default/orders#0", backends=shares),)
        assert port.backends == shares


def test_a_version_counts_for_its_service() -> None:
    backends = {one.name: one for one in compiled(SHOP).snapshot.backends}

    assert backends["default/orders-v2:9000"].service == "default/orders"
    assert backends["default/orders-v2:9000"].version == "v2"
    assert "default/orders:9000" not in backends


def test_endpoints_are_where_things_run() -> None:
    backends = {one.name: one.endpoints for one in compiled(SHOP).snapshot.backends}

    assert backends["default/web:8080"] == (PodEndpoint(workload="default/web", port=8080),)
    assert backends["prod/pay:80"] == (HostEndpoint(workload="prod/pay", host="127.0.0.1", port=80),)
    assert backends["default/db:5432"] == (HostEndpoint(workload="default/db", host="db.example", port=5432),)


def test_only_pods_are_callers() -> None:
    callers = {one.pod: one for one in compiled(SHOP).snapshot.callers}

    assert callers.keys() == {"default/web", "default/orders-v1", "default/orders-v2"}
    assert callers["default/web"] == Caller(
        pod="default/web",
        principal="shop.local/ns/default/sa/web",
        namespace="default",
        service="default/web",
        calls=("default/orders", "prod/pay"),
    )
    assert callers["default/orders-v2"].service == "default/orders"


def test_calls_nothing_is_not_calls_anything() -> None:
    callers = {
        one.pod: one.calls
        for one in compiled("mesh: m\nservices: {a: {run: x, calls: []}, b: {run: x}}\n").snapshot.callers
    }

    assert callers == {"default/a": (), "default/b": None}


def test_policies_guard_all_names_of_what_they_select() -> None:
    for name in ("default/orders", "default/orders-v1", "default/orders-v2"):
        assert service(SHOP, name).policies == ("default/orders-allow", "tulle-system/allow-nothing")
    assert service(SHOP, "prod/pay").policies == ("tulle-system/allow-nothing",)


def test_a_policy_of_a_namespace_guards_all_in_it() -> None:
    text = SHOP.replace("mesh: shop", "mesh: shop\n    deny: [{from: ['dev/*'], to: ['prod/*']}]")

    assert service(text, "prod/pay").policies == ("prod/mesh-deny-1", "tulle-system/allow-nothing")
    assert "prod/mesh-deny-1" not in service(text, "default/web").policies


def test_a_door_leads_to_its_port() -> None:
    made = compiled(SHOP)

    assert made.snapshot.doors == (Door(port=18080, service="default/web", service_port=8080),)
    assert made.plan.doors == [18080]


def test_protocols_keep_what_they_need() -> None:
    (tcp,) = service(SHOP, "default/db").ports
    (http,) = service(SHOP, "prod/pay").ports

    assert (tcp.protocol, tcp.routes, len(tcp.backends)) == (Protocol.TCP, (), 1)
    assert (http.protocol, len(http.routes), http.backends) == (Protocol.HTTP, 1, ())


@pytest.mark.parametrize(
    ("spoken", "port", "endpoints"),
    [
        ("http", Protocol.HTTP, Protocol.HTTP),
        ("http2", Protocol.HTTP2, Protocol.HTTP2),
        ("grpc", Protocol.HTTP2, Protocol.HTTP2),
        ("kubernetes.io/h2c", Protocol.HTTP2, Protocol.HTTP2),
        ("tcp", Protocol.TCP, Protocol.TCP),
        (None, Protocol.DETECT, Protocol.DETECT),
    ],
)
def test_what_a_port_speaks_its_endpoints_are_spoken_to_in(
    spoken: str | None, port: Protocol, endpoints: Protocol
) -> None:
    said = "" if spoken is None else f"protocol: {spoken}, "
    text = f"mesh: m\nservices: {{a: {{port: 50051, {said}versions: {{v1: {{run: x}}, v2: {{run: y}}}}}}}}\n"

    assert {one.protocol for one in service(text, "default/a").ports} == {port}
    first, second = (one for one in compiled(text).snapshot.backends if one.version)
    assert first.protocol is second.protocol is endpoints


@pytest.mark.parametrize(
    ("ports", "endpoints"),
    [
        (["kubernetes.io/h2c", None], Protocol.HTTP2),
        ([None, "http"], Protocol.HTTP),
        (["tcp", "http2"], Protocol.HTTP2),
        (["http", "grpc"], Protocol.DETECT),
        (["tcp", None], Protocol.DETECT),
    ],
)
@pytest.mark.parametrize("turn", [1, -1], ids=["", "turned round"])
def test_ports_that_lead_to_the_same_port_agree_on_what_it_speaks(
    ports: list[str | None], endpoints: Protocol, turn: int
) -> None:
    """What one of them says of HTTP holds; where they say both, endpoints are spoken to as callers speak."""
    said = "".join(
        f"\n    - {{port: {number}, targetPort: 90{f', appProtocol: {spoken}' if spoken else ''}}}"
        for number, spoken in enumerate(ports[::turn], 80)
    )
    text = f"""apiVersion: v1
kind: Service
metadata: {{name: a}}
spec:
  selector: {{app: a}}
  ports:{said}
---
apiVersion: tulle.dev/v1
kind: Workload
metadata: {{name: a}}
spec: {{labels: {{app: a}}, run: {{command: a}}}}
"""

    (backend,) = compiled(text).snapshot.backends

    assert backend.protocol is endpoints


def test_a_route_keeps_its_conditions() -> None:
    text = """
        apiVersion: v1
        kind: Service
        metadata: {name: a}
        spec: {selector: {app: a}, ports: [{port: 80, targetPort: 90}, {port: 81, targetPort: 90, appProtocol: tcp}]}
        ---
        apiVersion: tulle.dev/v1
        kind: Workload
        metadata: {name: a}
        spec: {labels: {app: a}, run: {command: a}}
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: r}
        spec:
          parentRefs: [{name: a, kind: Service, group: "", port: 80}]
          hostnames: ["*.example"]
          rules:
            - matches:
                - path: {type: Exact, value: /x}
                  headers: [{name: X-Who, value: Me}]
                - {method: GET}
              backendRefs: [{name: a, port: 80}]
        """

    (first, second) = service(text, "default/a").ports

    (route,) = first.routes
    assert route.name == "default/r#0"
    assert route.hostnames == ("*.example",)
    exact, method = route.matches
    assert exact.path is not None
    assert (exact.path.value, exact.path.exact) == ("/x", True)
    assert [(one.name, one.value) for one in exact.headers] == [("x-who", "Me")]
    assert (method.path, method.method) == (None, "GET")
    assert second.routes == ()
    assert compiled(text).snapshot.trust_domain == "cluster.local"


def test_a_mesh_in_two_files_is_one_mesh() -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: a}, ports: [{port: 80}]}\n"
    one = parse({"1.yaml": "mesh: m\nservices: {a: {run: x}}\n", "2.yaml": service})
    other = parse({"2.yaml": "mesh: m\nservices: {a: {run: x}}\n", "1.yaml": service})

    assert isinstance(one, Loaded)
    assert isinstance(other, Loaded)
    made = compile_mesh(one.resources, FACTS)
    assert isinstance(made, Compiled)
    assert made == compile_mesh(other.resources, FACTS)


def test_addresses_are_kept_from_one_generation_to_the_next() -> None:
    before = {one.name: one.address for one in compiled(SHOP).snapshot.services}
    moved = {name: f"127.80.1.{number}" for number, name in enumerate(sorted(before), 1)}

    after = compiled(SHOP, replace(FACTS, addresses=moved)).snapshot

    assert {one.name: one.address for one in after.services} == moved
