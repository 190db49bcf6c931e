"""The mesh file means resources, and expanding it loses nothing."""

from pathlib import Path

import pytest

from tests.support.manifests import loaded
from tulle.manifest import Loaded, dump, load, parse
from tulle.model.resource import Resource
from tulle.model.resources import AuthorizationPolicy, HTTPRoute, Mesh, MeshMode, PolicyAction, Service, TCPRoute
from tulle.model.workloads import Workload

EXAMPLES = Path(__file__).parents[3] / "examples"

SHOP = """
    mesh: shop
    deny:
      - {from: ["dev/*"], to: ["prod/*", "*", web]}
    services:
      web:
        run: serve
        port: 8080
        expose: 18080
        allow: [{methods: [GET]}]
        calls: [orders, "prod/*"]
      orders:
        port: 9000
        env: {A: one, B: one}
        versions:
          v1: {run: orders, weight: 99}
          v2: {run: orders --new, weight: 1, env: {B: two}}
        allow:
          - {from: [web, "dev/*", "*"], paths: ["/orders/*"]}
        deny: [{from: [prod/pay]}]
      pay: {namespace: prod, run: pay, port: 80, depends_on: [default/orders]}
    external:
      db: {host: 10.0.0.1, port: 5432, protocol: tcp, allow: [{from: [orders]}]}
    """


def by_name(read: Loaded, kind: type[Resource]) -> dict[str, Resource]:
    return {one.qualified: one for one in read.resources if isinstance(one, kind)}


def policy(name: str) -> AuthorizationPolicy:
    found = by_name(loaded(SHOP), AuthorizationPolicy)[name]
    assert isinstance(found, AuthorizationPolicy)
    return found


def service(text: str, name: str) -> Service:
    found = by_name(loaded(text), Service)[name]
    assert isinstance(found, Service)
    return found


@pytest.mark.parametrize("example", sorted(one.name for one in EXAMPLES.iterdir() if one.is_dir()))
def test_an_example_expands_to_resources_that_load_as_the_same(example: str) -> None:
    read = load([EXAMPLES / example / "mesh.yaml"])
    assert isinstance(read, Loaded)

    again = parse({"expanded.yaml": dump(read.resources)})

    assert isinstance(again, Loaded)
    assert sorted(map(repr, again.resources)) == sorted(map(repr, read.resources))


def test_strict_is_a_policy_that_everyone_can_read() -> None:
    nothing = policy("tulle-system/allow-nothing")

    assert nothing.spec.action is PolicyAction.ALLOW
    assert nothing.spec.rules == ()
    assert nothing.spec.selector is None


def test_permissive_leaves_that_policy_out() -> None:
    assert by_name(loaded("mesh: m\nmode: permissive\n"), AuthorizationPolicy) == {}


def test_shadow_is_strict_that_only_counts() -> None:
    read = loaded("mesh: m\nmode: shadow\n")

    (mesh,) = by_name(read, Mesh).values()
    assert isinstance(mesh, Mesh)
    assert mesh.spec.mode is MeshMode.SHADOW
    assert list(by_name(read, AuthorizationPolicy)) == ["tulle-system/allow-nothing"]


def test_a_caller_is_a_principal_a_namespace_or_anyone_attested() -> None:
    (rule,) = policy("default/orders-allow").spec.rules

    principals, namespaces = rule.from_ or ()
    assert principals.source.principals == ("shop.local/ns/default/sa/web", "*")
    assert namespaces.source.namespaces == ("dev",)


def test_a_rule_without_from_lets_in_the_anonymous() -> None:
    (rule,) = policy("default/web-allow").spec.rules

    assert rule.from_ is None


def test_a_mesh_wide_denial_lands_where_it_says() -> None:
    assert policy("prod/mesh-deny-1").spec.selector is None
    assert policy("tulle-system/mesh-deny-1").spec.selector is None
    selector = policy("default/mesh-deny-1-web").spec.selector
    assert selector is not None
    assert selector.match_labels == {"app": "web"}


def test_a_mesh_wide_denial_carries_its_name() -> None:
    read = loaded("mesh: m\ndeny: [{name: keep-out, from: ['dev/*'], to: ['prod/*']}]\n")

    assert "prod/keep-out" in by_name(read, AuthorizationPolicy)


def test_versions_are_services_and_workloads_of_one_identity() -> None:
    workloads = by_name(loaded(SHOP), Workload)

    one = workloads["default/orders-v2"]
    assert isinstance(one, Workload)
    assert one.service_account == "orders"
    assert one.spec.labels == {"app": "orders", "version": "v2"}
    assert one.spec.run is not None
    assert one.spec.run.env == {"A": "one", "B": "two"}
    assert one.spec.run.argv == ["orders", "--new"]
    assert service(SHOP, "default/orders-v2").spec.selector == {"app": "orders", "version": "v2"}


@pytest.mark.parametrize(
    ("protocol", "http", "tcp"), [("", True, True), ("protocol: http,", True, False), ("protocol: tcp,", False, True)]
)
def test_versions_share_what_the_port_may_speak(protocol: str, http: bool, tcp: bool) -> None:
    read = loaded(f"mesh: m\nservices: {{a: {{port: 90, {protocol} versions: {{v1: {{run: x}}, v2: {{run: y}}}}}}}}\n")

    assert bool(by_name(read, HTTPRoute)) is http
    assert bool(by_name(read, TCPRoute)) is tcp


def test_callers_may_leave_out_the_port_of_http() -> None:
    ports = {one.port: one.target for one in service(SHOP, "default/orders").spec.ports}

    assert ports == {9000: 9000, 80: 9000}


def test_port_80_is_not_given_twice() -> None:
    assert [one.port for one in service(SHOP, "prod/pay").spec.ports] == [80]


def test_tcp_has_the_port_it_says_and_no_other() -> None:
    assert [one.port for one in service(SHOP, "default/db").spec.ports] == [5432]


def test_waiting_for_a_service_is_waiting_for_all_its_versions() -> None:
    pay = by_name(loaded(SHOP), Workload)["prod/pay"]

    assert isinstance(pay, Workload)
    assert pay.spec.run is not None
    assert pay.spec.run.depends_on == ("default/orders-v1", "default/orders-v2")


def test_words_that_yaml_1_1_would_bend_stay_words() -> None:
    read = loaded("mesh: no\nservices:\n  on: {run: [echo, yes, 010, 1:30], port: 90, env: {NO: off, N: 1.10}}\n")

    found = by_name(read, Workload)["default/on"]
    assert isinstance(found, Workload)
    assert found.spec.run is not None
    assert found.spec.run.argv == ["echo", "yes", "010", "1:30"]
    assert found.spec.run.env == {"NO": "off", "N": "1.10"}
    again = parse({"expanded.yaml": dump(read.resources)})
    assert isinstance(again, Loaded)
    assert sorted(map(repr, again.resources)) == sorted(map(repr, read.resources))
