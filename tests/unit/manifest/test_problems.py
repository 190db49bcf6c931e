"""What is wrong in a manifest: each mistake has its code and its line, all at once, none ignored."""

from collections.abc import Generator
from pathlib import Path, PosixPath
from typing import Self

import pytest

from tests.support.manifests import codes, loaded, refused
from tests.support.powerless import powerless
from tulle.manifest import Loaded, load, parse

HEAD = "mesh: m\nservices:\n  web:\n    run: x\n    port: 80\n"
PUSH = HEAD + "telemetry:\n  prometheus:\n    push:\n      url: http://metrics.example/write\n"
POLICY = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n"
ROUTE = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r}}
spec:
  parentRefs: [{{name: a, kind: Service}}]
  {0}
  rules:
    - backendRefs: [{{name: a, port: 1}}]
      matches: [{1}]
{2}---
mesh: m
services: {{a: {{run: x, port: 1}}}}
"""


def route(spec: str, match: str, rule: str = "") -> str:
    return ROUTE.format(spec, match, rule)


WORKLOAD = "apiVersion: tulle.dev/v1\nkind: Workload\nmetadata: {name: x}\nspec:\n  run: {command: x}\n"


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (HEAD + "    prot: 3\n", "unknown-field", 6),
        (HEAD + "    container: {image: x}\n", "missing-field", 3),
        (HEAD + "    attach: {uid: web}\n", "missing-field", 3),
        (HEAD + "  job: {container: {image: 'x y'}}\n", "bad-value", 6),
        (HEAD + "  job: {container: {image: x, mounts: [data]}}\n", "bad-value", 6),
        (HEAD + "  job: {container: {image: x, mounts: ['a:/b/../c']}}\n", "bad-value", 6),
        (HEAD + "  job: {container: {image: x, mounts: ['a:/b', 'c:/b']}}\n", "duplicate-value", 6),
        (HEAD + "  job: {container: {image: x, memory: 64M}}\n", "bad-value", 6),
        (HEAD + "  job: {container: {image: x, cpus: 0}}\n", "bad-value", 6),
        (HEAD + "  job: {container: {image: x, pull: always}}\n", "bad-value", 6),
        (HEAD + "  job: {container: {image: x}, writable: [data]}\n", "bad-value", 6),
        (HEAD + "  job: {container: {image: x}, workdir: data}\n", "bad-value", 6),
        (HEAD + "  job: {container: {image: x}, user: bob}\n", "bad-value", 6),
        (HEAD + "  job: {container: {image: x}, isolation: none}\n", "bad-value", 6),
        (HEAD + "  job: {versions: {v1: {weight: 3}}}\n", "missing-field", 6),
        (HEAD + "  job: {versions: {v1: {run: x, container: {image: x}}}}\n", "missing-field", 6),
        (HEAD + "  job: {user: a, container: {image: x}}\n", "bad-value", 6),
        (HEAD + "  job: {user: a, versions: {v1: {container: {image: x}}}}\n", "bad-value", 6),
        (HEAD + "  job: {attach: {}}\n", "missing-field", 6),
        (HEAD + "  job: {attach: {uid: a b}}\n", "bad-value", 6),
        (HEAD + "  job: {attach: {systemd: web}}\n", "bad-value", 6),
        (HEAD + "  job: {attach: {cgroup: system.slice}}\n", "bad-value", 6),
        (HEAD + "  job: {attach: {systemd: a.service, cgroup: /a}}\n", "bad-value", 6),
        (HEAD + "  job: {attach: {uid: a}, env: {A: b}}\n", "unenforceable", 6),
        (HEAD + "  job: {attach: {uid: a}, port: 90, readiness: /health}\n", "unenforceable", 6),
        (HEAD + "  job: {attach: {uid: a}, port: 15001}\n", "port-clash", 6),
        (HEAD + "  job: {attach: {uid: a}}\n  other: {attach: {uid: a}}\n", "attached-alike", 7),
        (HEAD + "telemetry: {statsd: {}}\n", "unknown-field", 6),
        (HEAD + "telemetry:\n  prometheus: {push: metrics.example/write}\n", "bad-value", 7),
        (HEAD + "telemetry:\n  prometheus: {push: 'http://eve:secret@m/write'}\n", "bad-value", 7),
        (PUSH + "      interval: 121\n", "bad-value", 10),
        (PUSH + "      labels: {__name__: a}\n", "bad-value", 10),
        (PUSH + "      headers: {Authorization: a}\n", "bad-value", 10),
        (PUSH + "      headers: {X-Tenant: Küche}\n", "bad-value", 10),
        (PUSH + "      tls_config: {ca_file: a}\n", "bad-value", 9),
        (PUSH.replace("http:", "https:") + "      tls_config: {cert_file: a}\n", "missing-field", 10),
        (PUSH + "      bearer_token_file: a\n      basic_auth: {username: a, password_file: b}\n", "bad-value", 10),
        (PUSH + "      basic_auth: {username: a, password_file: b, password: c}\n", "unknown-field", 10),
        (HEAD + "    protocol: htpp\n", "bad-value", 6),
        (HEAD + "    protocol: no\n", "bad-value", 6),
        (HEAD + "    expose: 70000\n", "bad-value", 6),
        (HEAD + "    expose: 010\n", "wrong-type", 6),
        (HEAD + "    expose: '8080'\n", "wrong-type", 6),
        (HEAD + "    calls: orders\n", "wrong-type", 6),
        ("mesh: m\ntelemetry:\n  tracing: {create: 'true'}\n", "wrong-type", 3),
        ("mesh: m\ntelemetry:\n  tracing: {create: off}\n", "wrong-type", 3),
        ("mesh: m\ntelemetry:\n  access_log: {sample: 1.5}\n", "bad-value", 3),
        (HEAD + "    calls: [or*]\n", "bad-value", 6),
        (HEAD + "    allow: [{from: []}]\n", "empty-list", 6),
        (HEAD + "    allow:\n      - from:\n", "wrong-type", 7),
        (HEAD + "    allow: [{paths: [/a*b]}]\n", "bad-value", 6),
        (HEAD + "    allow: [{paths: ['*a*']}]\n", "bad-value", 6),
        (HEAD + "    namespace: Prod\n", "bad-value", 6),
        (HEAD + "    stop_seconds: 1e3\n", "wrong-type", 6),
        (HEAD + "    isolation: weak\n", "bad-value", 6),
        (HEAD + "    writable: [../up]\n", "bad-value", 6),
        (HEAD + "    readiness: health\n", "bad-value", 6),
        (HEAD + "    env: [A=b]\n", "wrong-type", 6),
        (HEAD + "    env: {A: [b]}\n", "wrong-type", 6),
        (HEAD + "    env: {A: }\n", "wrong-type", 6),
        (HEAD + "    versions: {v1: {run: y}}\n", "missing-field", 3),
        (HEAD + "  idle: {port: 3}\n", "missing-field", 6),
        (HEAD + "  job: {run: y, expose: 90}\n", "missing-field", 6),
        (HEAD + "  job: {run: y, allow: [{}]}\n", "missing-field", 6),
        (HEAD + "  job: {run: 'y \"z'}\n", "bad-value", 6),
        (HEAD + "  job: {run: ''}\n", "bad-value", 6),
        (HEAD + "  job: {run: []}\n", "bad-value", 6),
        (HEAD + "  job: {run: ['']}\n", "bad-value", 6),
        (HEAD + "  a/b/c: {run: y}\n", "bad-value", 6),
        (HEAD + "  prod/a: {run: y, namespace: dev}\n", "bad-value", 6),
        (
            HEAD + "  db: {port: 5, run: y, versions: {}, protocol: tcp, allow: [{methods: [GET]}]}\n",
            "never-matches",
            6,
        ),
        (HEAD + "  z: {port: 5, versions: {v1: {run: y, weight: 0}}}\n", "no-weight", 6),
        (HEAD + "  z: {run: y, isolation: none, calls: [web]}\n", "unenforceable", 6),
        (HEAD + f"  {'z' * 60}: {{run: y, port: 1, allow: [{{}}]}}\n", "bad-value", 6),
        (HEAD + "mode: lax\n", "bad-value", 6),
        ("services: {}\n", "missing-field", 1),
        ("- a\n", "wrong-type", 1),
        ("kind: Service\n", "missing-field", 1),
        ("kind: Servise\napiVersion: v1\n", "unknown-kind", 1),
        ("kind: Deployment\napiVersion: apps/v1\n", "unsupported-kind", 1),
        ("kind: Service\napiVersion: v2\n", "unknown-kind", 2),
        ("kind: Service\napiVersion: v1\nmetadata: {name: x}\n", "missing-field", 1),
        ("kind: Service\napiVersion: v1\nmetadata: {name: x}\nspec: {ports: []}\n", "empty-list", 4),
        (
            "kind: Service\napiVersion: v1\nmetadata: {name: x}\nspec:\n  ports: [{port: 1, nodePort: 2}]\n",
            "bad-value",
            5,
        ),
        (
            "kind: Service\napiVersion: v1\nmetadata: {name: x}\nspec:\n  ports: [{port: 1, protocol: UDP}]\n",
            "bad-value",
            5,
        ),
        (
            "kind: Service\napiVersion: v1\nmetadata: {name: x}\nspec:\n  ports: [{port: 1}, {port: 1}]\n",
            "port-clash",
            5,
        ),
        ("kind: Workload\napiVersion: tulle.dev/v1\nmetadata: {name: x}\nspec: {}\n", "missing-field", 1),
        (POLICY + "spec: {rules: [{from: [{source: {}}]}]}\n", "empty-list", 4),
        (POLICY + "spec: {rules: [{from: []}]}\n", "empty-list", 4),
        (POLICY + "spec: {rules: [{to: [{operation: {methods: []}}]}]}\n", "empty-list", 4),
        (POLICY + "spec: {rules: [{when: [{key: a}]}]}\n", "unsupported-field", 4),
        (POLICY + "spec: {rules: [{from: [{source: {ipBlocks: [a]}}]}]}\n", "unsupported-field", 4),
        (POLICY + "spec: {action: AUDIT}\n", "bad-value", 4),
        (HEAD + "    allow: [{methods: [get]}]\n", "bad-value", 6),
        (HEAD + "    allow: [{paths: [orders/*]}]\n", "bad-value", 6),
        (HEAD + "    allow: [{paths: ['/a?b']}]\n", "bad-value", 6),
        (HEAD + "    allow: [{paths: [/a/../b]}]\n", "bad-value", 6),
        (HEAD + "    allow: [{paths: ['/a/%2E%2e/*']}]\n", "bad-value", 6),
        (HEAD + "    allow: [{paths: ['/a%2']}]\n", "bad-value", 6),
        (HEAD + "    allow: [{hosts: ['a:80']}]\n", "bad-value", 6),
        (HEAD + "    allow: [{hosts: ['*:80']}]\n", "bad-value", 6),
        (HEAD + "    allow: [{hosts: ['*.']}]\n", "bad-value", 6),
        (HEAD + "    allow: [{from: [web, web]}]\n", "duplicate-value", 6),
        (HEAD + "    allow: [{ports: [80, 80]}]\n", "duplicate-value", 6),
        (HEAD + "    writable: [/a, /b, /a]\n", "duplicate-value", 6),
        (HEAD + "external: {db: {host: 'a:1', port: 1}}\n", "bad-value", 6),
        (POLICY + "spec: {rules: [{from: [{source: {namespaces: [Prod]}}]}]}\n", "bad-value", 4),
        (POLICY + "spec: {rules: [{from: [{source: {principals: ['spiffe://a/*']}}]}]}\n", "bad-value", 4),
        (POLICY + "spec: {rules: [{to: [{operation: {notMethods: [Get]}}]}]}\n", "bad-value", 4),
        (route("hostnames: ['a:80']", "{}"), "bad-value", 6),
        (route("hostnames: [A.example]", "{}"), "bad-value", 6),
        (route("hostnames: [a..b]", "{}"), "bad-value", 6),
        (route("# all", "{path: {value: a}}"), "bad-value", 9),
        (route("# all", "{path: {value: /a/./b}}"), "bad-value", 9),
        (route("# all", "{method: get}"), "bad-value", 9),
        (route("# all", "{headers: [{name: 'a b', value: c}]}"), "bad-value", 9),
        (route("# all", "{headers: [{name: a, value: ' c'}]}"), "bad-value", 9),
        (route("# all", "{headers: [{name: a, value: b}, {name: A, value: c}]}"), "never-matches", 9),
        (route("# all", "{}", "    - {backendRefs: [{name: a, port: 1}]}\n"), "never-matches", 10),
        (WORKLOAD + "  ports: [{port: 1}, {port: 1}]\n", "port-clash", 1),
        (WORKLOAD + "  ports: [{port: 1, name: a}, {port: 2, name: a}]\n", "duplicate-value", 6),
        (WORKLOAD + "  ports: [{port: 1, name: '80'}]\n", "bad-value", 6),
    ],
)
def test_a_mistake_has_its_code_and_its_line(text: str, code: str, line: int) -> None:
    assert codes(text) == [(code, line)]


def test_all_mistakes_are_said_at_once() -> None:
    text = "mesh: M\nservices:\n  web: {prot: 80}\n---\nkind: Servise\napiVersion: v1\n---\nmesh: b\nmode: x\n"

    assert codes(text) == [
        ("bad-value", 1),
        ("unknown-field", 3),
        ("unknown-kind", 5),
        ("duplicate-resource", 8),
        ("bad-value", 9),
    ]


def test_an_unknown_field_names_the_nearest_known() -> None:
    assert [one.hint for one in refused(HEAD + "    expsoe: 8080\n")] == ["did you mean `expose`?"]


def test_a_service_that_says_two_ways_to_run_is_told_both() -> None:
    (problem,) = refused(HEAD + "    container: {image: x}\n")

    assert "and has `run` and `container`" in problem.message


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"mesh: \xff\n")

    problems = load([tmp_path, tmp_path / "absent.yaml"])

    assert isinstance(problems, list)
    assert [(one.code, Path(one.file).name) for one in problems] == [
        ("unreadable", "absent.yaml"),
        ("bad-yaml", "latin.yaml"),
    ]


def test_an_empty_directory_is_a_problem(tmp_path: Path) -> None:
    problems = load([tmp_path])

    assert isinstance(problems, list)
    assert [one.code for one in problems] == ["unreadable"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (HEAD + "\tallow: []\n", "indent with spaces; YAML allows no tab here"),
        (HEAD + "    calls: web\n", "write `[web]`"),
        ("services: {}\n", "begin with `mesh: name`"),
        (route("# all", "{}").replace(", kind: Service", ""), "write `kind: Service`"),
        (HEAD + "    allow: [{methods: [get]}]\n", "write `GET`"),
        (HEAD + "    allow: [{paths: [orders/*]}]\n", "write `/orders/*`"),
        (HEAD + "    allow: [{paths: ['/a?b']}]\n", "the query is no part of the path"),
        (
            HEAD + "    allow: [{hosts: ['a:80']}]\n",
            "hosts are compared without their port: write `a`, and the port where `ports` are asked for",
        ),
        (HEAD + "    allow: [{hosts: [a.b.]}]\n", "hosts are compared without a final dot: write `a.b`"),
        (route("hostnames: ['a.b:80']", "{}"), "hosts are compared without their port: write `a.b`"),
        (route("hostnames: [A.b]", "{}"), "write `a.b`"),
        (route("# all", "{headers: [{name: 'a:', value: c}]}"), "write `a`"),
        (POLICY + "spec: {rules: [{from: [{source: {principals: ['spiffe://a/*']}}]}]}\n", "write `a/*`"),
        (HEAD + "external: {db: {host: 'a:1', port: 1}}\n", "the port has a field of its own"),
        (HEAD + "  job: {container: localhost/job:1}\n", "write `{image: localhost/job:1}`"),
        (HEAD + "  job: {attach: web}\n", "write `{uid: web}` or `{systemd: web.service}`"),
        (HEAD + "    environment: {A: b}\n", "write `env`"),
        (HEAD + "    image: localhost/job:1\n", "write `container: {image: …}`"),
        (
            PUSH.replace("http://metrics.example/write", "metrics.example:9090"),
            "write `http://metrics.example:9090/api/v1/write`",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\n",
            "leave it out: on the box the kernel says who calls",
        ),
    ],
)
def test_a_mistake_says_what_would_be_right(text: str, hint: str) -> None:
    assert [one.hint for one in refused(text)] == [hint]


@pytest.mark.parametrize("value", ["/", "/*", "*", "*.json", "/a/b", "/a/..b", "/a/.*", "/é*", "/a%20b", "*/b"])
def test_a_path_that_some_request_has_is_taken(value: str) -> None:
    assert loaded(HEAD + f"    allow: [{{paths: ['{value}']}}]\n").resources


@pytest.mark.parametrize("value", ["web", "*", "*.example", "shop*", "Shop.Example", "[::1]", "10.0.0.1"])
def test_a_host_that_some_request_asks_for_is_taken(value: str) -> None:
    assert loaded(HEAD + f"    allow: [{{hosts: ['{value}']}}]\n").resources


def test_another_namespace_is_refused_with_the_rule_that_forbids_it() -> None:
    (problem,) = refused(route("# all", "{}").replace("{name: a, port", "{name: a, namespace: b, port"))

    assert problem.code == "unsupported-field"
    assert "ReferenceGrant" in problem.message


@pytest.mark.parametrize("files", [{"a.yaml": ""}, {"b.yaml": "---\n# nothing\n", "a.yaml": "~\n"}, {}])
def test_manifests_that_declare_nothing_are_no_mesh(files: dict[str, str]) -> None:
    problems = parse(files)

    assert isinstance(problems, list)
    assert [(one.code, one.file) for one in problems] == [("missing-field", min(files, default=""))]


def test_an_empty_file_beside_others_is_fine() -> None:
    assert isinstance(parse({"a.yaml": "# later\n", "b.yaml": HEAD}), Loaded)


class Locked(PosixPath):
    """A directory that may not be listed."""

    def iterdir(self) -> Generator[Self, None, None]:
        raise PermissionError(13, "Permission denied")


def test_a_directory_that_may_not_be_listed_is_a_problem(tmp_path: Path) -> None:
    problems = load([Locked(tmp_path)])

    assert isinstance(problems, list)
    assert [(one.code, one.message) for one in problems] == [("unreadable", "cannot read it: Permission denied")]


def test_a_file_behind_a_closed_directory_is_a_problem(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "mesh.yaml").write_text("mesh: a")
    closed.chmod(0)

    with powerless():
        problems = load([closed / "mesh.yaml"])

    closed.chmod(0o700)
    assert isinstance(problems, list)
    assert [(one.code, one.message) for one in problems] == [("unreadable", "cannot read it: Permission denied")]
