"""What keeps resources from being a mesh: each reason has its code and its line."""

import pytest

from tests.support.manifests import codes, compiled, refused

HEAD = "mesh: m\nservices:\n  web: {run: x, port: 8080}\n  job: {run: y}\n"

TWO = """mesh: m
mode: permissive
services:
  a: {run: x, port: 80, deny: [{from: [b]}]}
  b: {run: x, port: 80}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: b, kind: Service}]
  rules:
    - backendRefs: [{name: a, port: 80}]
"""


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (HEAD + "  z: {run: z, calls: [wbe]}\n", "unknown-service", 5),
        (HEAD + "  z: {run: z, calls: [job]}\n", "unknown-service", 5),
        (HEAD + "  z:\n    run: z\n    port: 90\n    allow:\n      - from: [web, jbo]\n", "unknown-service", 9),
        (HEAD + "deny:\n  - from: [web]\n    to: [jop]\n", "unknown-service", 7),
        (HEAD + "  z: {run: z, depends_on: [wbe]}\n", "unknown-workload", 5),
        (HEAD + "  z: {run: z, depends_on: [z]}\n", "dependency-cycle", 5),
        (HEAD + "  y: {run: z, depends_on: [z]}\n  z: {run: z, depends_on: [y]}\n", "dependency-cycle", 5),
        (HEAD + "  z: {run: z, port: 90, expose: 70}\n  y: {run: z, port: 90, expose: 70}\n", "port-clash", 5),
        (HEAD + "  z: {run: z, port: 90, expose: 15020}\n", "port-clash", 5),
        (HEAD + "  z:\n    run: z\n    port: 90\n    expose: 15020\n", "port-clash", 8),
        (HEAD + "  z: {run: z, port: 9, isolation: none}\n  y: {run: z, port: 9, isolation: none}\n", "port-clash", 5),
        (HEAD + "  z: {run: z, port: 15001}\n", "port-reserved", 5),
        (HEAD + "  localhost: {run: z, port: 90}\n", "reserved-name", 5),
        (HEAD + "  default/web: {run: z}\n", "duplicate-resource", 5),
        (HEAD + "external: {web: {host: a, port: 8080}}\n", "duplicate-resource", 5),
        (HEAD + "---\nmesh: n\nmode: permissive\n", "duplicate-resource", 6),
        (
            HEAD + "  z: {run: z, isolation: none}\n  y: {run: y, port: 9, allow: [{from: [z]}]}\n",
            "anonymous-caller",
            6,
        ),
        (
            HEAD
            + "---\napiVersion: v1\nkind: Service\nmetadata: {name: z}\nspec: {selector: {a: b}, ports: [{port: 1}]}\n",
            "selects-nothing",
            6,
        ),
        (
            HEAD + "---\napiVersion: v1\nkind: Service\nmetadata: {name: z}\n"
            "spec:\n  selector: {app: web}\n  ports:\n    - {port: 1}\n",
            "unknown-port",
            12,
        ),
        (TWO, "route-bypasses-policy", 13),
        (TWO.replace("name: a,", "name: c,"), "unknown-service", 13),
        (TWO.replace("port: 80}]\n", "port: 81}]\n").replace("deny: [{from: [b]}]", "env: {}"), "unknown-port", 13),
        (TWO.replace("name: b, kind", "name: c, kind"), "unknown-service", 11),
    ],
)
def test_a_mistake_has_its_code_and_its_line(text: str, code: str, line: int) -> None:
    assert codes(text) == [(code, line)]


def policy(name: str, spec: str) -> str:
    return (
        f"---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )


def rule(to: str) -> str:
    return f"{{rules: [{{to: [{{{to}}}]}}]}}"


VERSIONS = "mesh: m\nservices:\n  a: {port: 80, versions: {v1: {run: x}, v2: {run: y}}}\n"


def test_a_policy_on_part_of_a_service_is_refused_for_it_could_not_be_enforced() -> None:
    text = VERSIONS + policy("p", "{action: DENY, rules: [{}], selector: {matchLabels: {version: v2}}}")

    (problem,) = refused(text)

    assert problem.code == "policy-splits-service"
    assert problem.hint == "select all of it: default/a-v1, default/a-v2"


def test_a_principal_of_another_trust_domain_is_refused_for_it_could_never_match() -> None:
    text = VERSIONS + policy("p", "{rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/a]}}]}]}")

    assert [one.code for one in refused(text)] == ["foreign-principal"]


def test_a_principal_that_is_none_says_how_to_write_one() -> None:
    (problem,) = refused(VERSIONS + policy("p", "{rules: [{from: [{source: {principals: [a]}}]}]}"))

    assert (problem.code, problem.hint) == ("bad-value", "write `m.local/ns/<namespace>/sa/<service account>`")


def test_a_service_in_another_namespace_is_suggested() -> None:
    text = "mesh: m\nservices:\n  a: {run: x, calls: [b]}\n  b: {namespace: prod, run: y, port: 80}\n"

    (problem,) = refused(text)

    assert problem.hint == "did you mean `prod/b`?"


def test_a_route_to_a_service_under_the_same_policies_is_fine() -> None:
    made = compiled(TWO.replace(", deny: [{from: [b]}]", ""))

    (port,) = next(one for one in made.snapshot.services if one.name == "default/b").ports
    assert [one.backend for one in port.routes[0].backends] == ["default/a:80"]


def test_a_rule_may_name_a_namespace_that_is_still_empty() -> None:
    assert compiled(HEAD + "deny: [{from: ['dev/*'], to: ['prod/*']}]\n").snapshot.policies


def test_a_chain_is_no_cycle() -> None:
    chain = "".join(f"  s{n}: {{run: x, depends_on: [s{n + 1}, s{n + 2}]}}\n" for n in range(50))

    assert compiled(f"mesh: m\nservices:\n{chain}  s50: {{run: x}}\n  s51: {{run: x}}\n").plan.pods


ONE = "mesh: m\nservices:\n  a:\n    run: x\n    port: 8080\n"


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (ONE + "    allow: [{ports: [80]}]\n", "never-matches", 6),
        (ONE + "    deny:\n      - {from: ['*']}\n      - {ports: [8080, 81]}\n", "never-matches", 8),
        (ONE + policy("p", rule("operation: {methods: [GET], notMethods: ['G*']}")), "never-matches", 10),
        (ONE + policy("p", rule("operation: {paths: [/a, '/b/*'], notPaths: ['/*']}")), "never-matches", 10),
        (ONE + policy("p", rule("operation: {ports: [1], notPorts: [1]}")), "never-matches", 10),
        (
            ONE + policy("p", "{rules: [{from: [{source: {namespaces: [b], notNamespaces: ['*']}}]}]}"),
            "never-matches",
            10,
        ),
        (ONE + policy("p", "{rules: [{from: [{source: {principals: ['other.local/*']}}]}]}"), "foreign-principal", 10),
        (
            ONE
            + "    protocol: tcp\n"
            + policy("p", "{selector: {matchLabels: {app: a}}, rules: [{to: [{operation: {methods: [GET]}}]}]}"),
            "never-matches",
            11,
        ),
    ],
)
def test_a_rule_that_could_never_match_is_refused(text: str, code: str, line: int) -> None:
    assert codes(text) == [(code, line)]


@pytest.mark.parametrize(
    "spec",
    [
        rule("operation: {paths: ['/a/*'], notPaths: ['/a/b*']}"),
        rule("operation: {paths: ['*.png'], notPaths: ['/*']}"),
        "{rules: [{from: [{source: {principals: ['m.local/ns/*', 'm*', '*/sa/b']}}]}]}",
        "{action: DENY, selector: {matchLabels: {app: a}}, rules: [{to: [{operation: {ports: [8080]}}]}]}",
    ],
)
def test_a_rule_that_something_may_match_is_taken(spec: str) -> None:
    assert compiled(ONE + policy("p", spec)).snapshot.policies


def test_a_port_of_a_rule_for_several_services_need_be_only_one_of_theirs() -> None:
    text = ONE + "  b: {run: y, port: 9090}\ndeny:\n  - {to: [a, b], ports: [9090]}\n"

    assert compiled(text).snapshot.policies
    assert codes(text.replace("[9090]}", "[9091]}")) == [("never-matches", 8)] * 2
