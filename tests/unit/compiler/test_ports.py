"""A Service may target a port by the name that its workloads give it."""

from tests.support.manifests import codes, compiled, refused

SERVICE = """apiVersion: v1
kind: Service
metadata: {name: a}
spec:
  selector: {app: a}
  ports:
    - {port: 80, targetPort: http}
"""
WORKLOAD = """---
apiVersion: tulle.dev/v1
kind: Workload
metadata: {name: NAME}
spec: {labels: {app: a}, ports: [{port: PORT, name: http}], run: {command: x}}
"""


def workload(name: str, port: int) -> str:
    return WORKLOAD.replace("NAME", name).replace("PORT", str(port))


def test_a_named_target_is_the_number_that_the_workloads_name() -> None:
    made = compiled(SERVICE + workload("one", 8080) + workload("two", 8080))

    (service,) = made.snapshot.services
    assert [(port.port, port.target_port) for port in service.ports] == [(80, 8080)]
    assert [end.port for backend in made.snapshot.backends for end in backend.endpoints] == [8080, 8080]


def test_a_name_that_no_workload_gives_is_unknown() -> None:
    (problem,) = refused(SERVICE.replace("http", "htpp") + workload("one", 8080))

    assert (problem.code, problem.line, problem.hint) == ("unknown-port", 7, "did you mean `http`?")


def test_a_name_with_several_numbers_is_refused() -> None:
    (problem,) = refused(SERVICE + workload("one", 8080) + workload("two", 8081))

    assert (problem.code, problem.line) == ("unsupported-field", 7)
    assert problem.message.endswith("8080 in `default/one`, 8081 in `default/two`")


def test_a_quoted_number_is_no_name() -> None:
    assert codes(SERVICE.replace("http", "'80'") + workload("one", 80)) == [("bad-value", 7)]
