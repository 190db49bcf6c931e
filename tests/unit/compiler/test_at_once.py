"""What is wrong within resources and between them is said together, and nothing is said because of what could not be read."""

import pytest

from tests.support.manifests import codes

HEAD = "mesh: m\nservices:\n  web: {run: x, port: 80}\n"
ROUTE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: a, kind: Service}]
  rules: [{backendRefs: [{name: a, port: 1}]}]
"""
SERVICE = (
    "---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: web}, ports: [{port: PORT}]}\n"
)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "  job: {run: y, prot: 1, calls: [wbe]}\n",
        HEAD + "  job: {run: y, calls: [wbe]}\n  other: {run: z, port: 0}\n",
        HEAD + "  job: {run: y, port: 70000, depends_on: [wbe]}\n",
        HEAD + "  job: {run: y, port: 90, allow: [{from: [wbe], methods: [get]}]}\n",
        HEAD + "  job: {run: y, expose: 90, calls: [wbe]}\n",
        HEAD + "  job: {run: [], calls: [wbe]}\n",
        HEAD.replace(" m\n", " M\n") + "deny: [{from: [wbe]}]\n",
        HEAD + "deny: [{to: [wbe]}]\nmode: lax\n",
        HEAD + "deny: [{to: [wbe]}]\n---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {}\n",
        HEAD + "deny: [{to: [wbe]}]\n---\nkind: Servise\napiVersion: v1\nmetadata: {name: b}\n",
        HEAD + "  job: {run: y, calls: [wbe]}\nservcies: {}\n",
    ],
)
def test_an_unknown_name_is_said_beside_what_cannot_be_read(text: str) -> None:
    found = [code for code, _ in codes(text)]

    assert len(found) == 2
    assert {"unknown-service", "unknown-workload"}.intersection(found)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "  job: {run: y, port: 0}\n  c: {run: z, calls: [job], depends_on: [job]}\n",
        HEAD + "  job: {run: y, port: '90'}\n  c: {run: z, port: 91, allow: [{from: [job]}]}\n",
        HEAD + "  job: [run]\n  c: {run: z, calls: [job], depends_on: [job]}\n",
        HEAD
        + "  job: {run: y, versions: {v1: {run: x, weigth: 1}}}\ndeny: [{to: [job]}]\n".replace(
            "run: y, ", "port: 1, "
        ),
        HEAD + "  Job: {run: y}\n  c: {run: z, calls: [job]}\n",
        HEAD + "  job: {run: y, namespace: Prod}\n  c: {run: z, calls: [prod/job]}\n",
        HEAD + "external: {db: {host: 'a:1', port: 1}}\ndeny: [{to: [db]}]\n",
        HEAD + "services: {job: {run: y}}\n" + ROUTE.replace("name: a", "name: web").replace("port: 1", "port: 80"),
        HEAD + SERVICE.replace("PORT", "0") + ROUTE,
        HEAD + SERVICE.replace("PORT", "1, tragetPort: 80").replace("PORT", "1") + ROUTE,
        HEAD
        + SERVICE.replace("name: a", "nmae: a").replace("PORT", "80")
        + ROUTE.replace("name: a, kind", "name: b, kind"),
        HEAD + "deny: [{to: [job]}]\n---\n- a\n",
        HEAD + "  c: {run: z, calls: [job]}\n---\nkind: Deployment\napiVersion: apps/v1\nmetadata: {name: job}\n",
        HEAD + "  c: {run: z, calls: [job]}\n---\nkind: [\n",
    ],
)
def test_what_could_not_be_read_makes_nothing_else_unknown(text: str) -> None:
    found = [code for code, _ in codes(text)]

    assert len(found) in {1, 2}
    assert not {"unknown-service", "unknown-workload", "unknown-port", "selects-nothing"}.intersection(found)


def test_problems_of_several_files_are_in_the_order_of_files_and_lines() -> None:
    from tulle.compiler import sure_faults
    from tulle.manifest import parse

    problems = parse(
        {
            "b.yaml": "kind: Servise\napiVersion: v1\nmetadata: {name: z}\n",
            "a.yaml": HEAD + "  j: {run: y, calls: [q], prt: 1}\n",
        },
        sure_faults,
    )

    assert isinstance(problems, list)
    assert [(one.file, one.line, one.code) for one in problems] == [
        ("a.yaml", 4, "unknown-field"),
        ("a.yaml", 4, "unknown-service"),
        ("b.yaml", 1, "unknown-kind"),
    ]
