"""What resources become for the supervisor."""

from tests.support.manifests import compiled
from tulle.wire.plan import PodSpec, Readiness, decode_plan, encode

MESH = """
    mesh: m
    services:
      web:
        run: [serve, "two words"]
        port: 8080
        workdir: web
        env: {LANG: C, A: "1"}
        user: www
        writable: [/srv/data, cache]
        readiness: {path: /up, startup: 5, timeout: 0.5, period: 2, failure_threshold: 4}
        depends_on: [jobs/clock]
        stop_seconds: 2.5
      clock: {namespace: jobs, run: clock --fast, isolation: none}
    """


def test_a_pod_says_all_that_was_written() -> None:
    web = compiled(MESH).plan.pods[0]

    assert web == PodSpec(
        name="default/web",
        namespace="default",
        argv=["serve", "two words"],
        env={"PATH": "/usr/bin", "LANG": "C", "A": "1"},
        cwd="/m/web",
        user="www",
        writable=["/srv/data", "cache"],
        isolated=True,
        readiness=Readiness(8080, "/up", 5.0, 0.5, 2.0, 4),
        depends_on=["jobs/clock"],
        stop_seconds=2.5,
    )


def test_what_is_not_said_is_the_mesh_files_directory_and_nothing_else() -> None:
    clock = compiled(MESH).plan.pods[1]

    assert (clock.name, clock.cwd, clock.isolated, clock.readiness) == ("jobs/clock", "/m", False, None)


def test_a_service_is_ready_when_its_port_is() -> None:
    (pod,) = compiled("mesh: m\nservices: {a: {run: x, port: 90}}\n").plan.pods

    assert pod.readiness == Readiness(90)


def test_names_resolve_as_on_a_cluster_and_bare_ones_at_home() -> None:
    made = compiled(MESH)
    address = made.snapshot.services[0].address

    names = "web.default web.default.svc web.default.svc.cluster.local"
    assert f"\n{address} web {names}\n" in made.plan.hosts["default"]
    assert f"\n{address} {names}\n" in made.plan.hosts["jobs"]
    assert made.plan.hosts["jobs"].startswith("127.0.0.1 localhost\n::1 localhost")


def test_manifests_are_protected() -> None:
    assert compiled(MESH).plan.protected == ["/m/mesh.yaml"]


def test_a_plan_survives_the_wire() -> None:
    plan = compiled(MESH).plan

    assert decode_plan(encode(plan)) == plan
