"""What is wanted, for every order of manifests, applies, refusals and restarts."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tulle.agent.candidate import Ground
from tulle.agent.lean import LARGE
from tulle.agent.node import MANIFEST, REFUSALS_KEPT, Node
from tulle.manifest import Loaded, parse
from tulle.model.place import Problem
from tulle.store.revisions import Revisions
from tulle.wire.plan import DoorState, DoorStatus, PodState, PodStatus, Report, decode_plan
from tulle.wire.snapshot import decode_snapshot
from tulle.wire.status import Outcome

GROUND = Ground(mesh="hello", manifests=("/etc/mesh.yaml",), base_dir="/etc", environment={"PATH": "/bin"})
HELLO = "mesh: hello\nservices:\n  web: {run: /bin/web, port: 80}\n"
TWO = HELLO + "  orders: {run: /bin/orders, port: 80, allow: [{from: [web]}]}\n"
BROKEN = "mesh: hello\nservices:\n  web: {run: /bin/web, prot: 80}\n"


def read(text: str) -> Loaded | list[Problem]:
    return parse({"mesh.yaml": text})


def loaded(text: str) -> Loaded:
    found = read(text)
    assert isinstance(found, Loaded)
    return found


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "tulle.db"


def node_on(database: Path) -> Node:
    return Node(GROUND, Revisions(database), now=lambda: 1000.0)


def booted(database: Path, text: str, watched: str = "w1") -> Node:
    node = node_on(database)
    node.boot(lambda: read(text), 0, watched)
    return node


def wanted(node: Node) -> int:
    return node.wanted.number if node.wanted else 0


def test_first_boot_wants_generation_one_and_plans_at_once(database: Path) -> None:
    node = booted(database, HELLO)

    assert wanted(node) == 1
    assert node.planned is not None
    assert [pod.name for pod in decode_plan(node.planned).pods] == ["default/web"]
    assert node.waits_for() == ["the proxy to answer", "pod default/web (waiting)"]


def test_ready_when_proxy_and_pods_are(database: Path) -> None:
    node = booted(database, HELLO)
    node.proxy_has(0)
    node.proxy_took(1)
    node.supervisor_says(Report(1, [PodStatus("default/web", PodState.READY, 7, 0, 0.0)], [], "127.0.0.1:15020"))

    assert node.waits_for() == []


def test_not_ready_while_a_port_of_the_box_is_anothers(database: Path) -> None:
    node = booted(database, HELLO.replace("port: 80}", "port: 80, expose: 8080}"))
    node.proxy_has(0)
    node.proxy_took(1)
    ready = PodStatus("default/web", PodState.READY, 7, 0, 0.0)

    node.supervisor_says(Report(0, [ready], [], "127.0.0.1:15020"))
    assert node.waits_for() == ["port 8080 to be opened"]
    taken = DoorStatus(8080, DoorState.TAKEN, "Address already in use", "nginx (pid 3)")
    node.supervisor_says(Report(1, [ready], [taken], "127.0.0.1:15020"))
    assert node.waits_for() == ["port 8080 (taken: Address already in use, nginx (pid 3) has it)"]
    node.supervisor_says(Report(1, [ready], [DoorStatus(8080, DoorState.OPEN)], "127.0.0.1:15020"))
    assert node.waits_for() == []


def test_broken_manifest_at_first_boot_wants_nothing(database: Path) -> None:
    node = booted(database, BROKEN)

    assert wanted(node) == 0
    assert node.planned is None
    assert [problem.code for problem in node.problems] == ["unknown-field"]


def test_broken_change_keeps_what_runs_and_says_why(database: Path) -> None:
    node = booted(database, HELLO)
    node.take(node.prepare(read(BROKEN)), author=MANIFEST, why="mesh.yaml changed", watched="w2")

    assert wanted(node) == 1
    assert node.problems
    node.take(node.prepare(read(HELLO)), author=MANIFEST, why="mesh.yaml changed", watched="w3")
    assert wanted(node) == 1
    assert node.problems == []


def test_broken_manifest_at_cold_boot_serves_the_last_good_one(database: Path) -> None:
    before = booted(database, HELLO)
    before.proxy_took(1)
    before.store.close()

    node = booted(database, BROKEN, "w2")

    assert wanted(node) == 1
    assert node.planned == before.planned
    assert node.problems


def test_restart_with_the_same_manifests_is_no_new_revision(database: Path) -> None:
    booted(database, HELLO).store.close()

    node = booted(database, HELLO)

    assert wanted(node) == 1
    assert [entry.number for entry in node.store.history()] == [1]


def test_manifest_changed_while_down_wins(database: Path) -> None:
    booted(database, HELLO).store.close()

    node = booted(database, TWO, "w2")

    assert wanted(node) == 2


def test_applied_revision_survives_a_restart_until_the_manifest_changes(database: Path) -> None:
    node = booted(database, HELLO)
    applied = node.take(node.prepare(loaded(TWO)), author="uid 0", why="apply", watched="w1")
    assert (applied.outcome, applied.generation) == ("pending", 2)
    node.store.close()

    again = booted(database, HELLO, "w1")
    assert wanted(again) == 2
    again.take(again.prepare(read(HELLO)), author=MANIFEST, why="mesh.yaml changed", watched="w2")
    assert wanted(again) == 3


def test_dry_run_changes_nothing_and_names_what_would(database: Path) -> None:
    node = booted(database, HELLO)

    tried = node.tried({"mesh.yaml": TWO})

    assert tried.outcome == "valid"
    assert ("service", "default/orders", "added") in {(one.what, one.name, one.how) for one in tried.changes}
    assert wanted(node) == 1
    assert node.tried({"mesh.yaml": HELLO}).outcome == "unchanged"
    assert node.tried({"mesh.yaml": BROKEN}).outcome == "invalid"


def test_refused_snapshot_falls_back_to_what_the_proxy_has(database: Path) -> None:
    node = booted(database, HELLO)
    node.proxy_took(1)
    plan = node.planned
    node.take(node.prepare(loaded(TWO)), author="uid 0", why="apply", watched="w1")
    assert node.planned == plan, "pods wait for the proxy's word"

    node.proxy_refused(2, "no such thing")

    assert wanted(node) == 1
    assert node.planned == plan
    assert [(entry.number, entry.fault) for entry in node.store.history()] == [(2, "no such thing"), (1, "")]
    node.take(node.prepare(loaded(TWO)), author="uid 0", why="apply", watched="w1")
    assert wanted(node) == 3


def test_pods_follow_once_the_proxy_took_it(database: Path) -> None:
    node = booted(database, HELLO)
    node.proxy_took(1)
    node.take(node.prepare(loaded(TWO)), author="uid 0", why="apply", watched="w1")
    node.proxy_took(2)

    assert node.planned is not None
    assert decode_plan(node.planned).generation == 2


def test_pods_do_not_wait_for_a_proxy_that_is_gone(database: Path) -> None:
    node = booted(database, HELLO)
    node.proxy_took(1)
    node.take(node.prepare(loaded(TWO)), author="uid 0", why="apply", watched="w1")
    node.proxy_gone()

    assert node.planned is not None
    assert decode_plan(node.planned).generation == 2


def test_lost_store_never_goes_below_what_the_proxy_serves(database: Path) -> None:
    node = booted(database, HELLO)

    node.proxy_has(41)

    assert wanted(node) == 42
    assert node.wanted is not None
    assert decode_snapshot(node.wanted.snapshot).generation == 42


def test_equal_number_of_a_lost_store_is_not_taken_for_the_same_mesh(database: Path) -> None:
    node = booted(database, HELLO)

    node.proxy_has(1)

    assert wanted(node) == 2


def test_services_keep_their_addresses(database: Path) -> None:
    node = booted(database, HELLO)
    assert node.running is not None
    before = {service.name: service.address for service in node.running[0].services}
    node.take(node.prepare(loaded(TWO)), author="uid 0", why="apply", watched="w1")
    after = {service.name: service.address for service in node.running[0].services}

    assert before.items() <= after.items()


def test_mesh_cannot_be_renamed_while_it_runs(database: Path) -> None:
    node = booted(database, HELLO)
    node.take(
        node.prepare(read(HELLO.replace("hello", "other", 1))), author=MANIFEST, why="mesh.yaml changed", watched="w2"
    )

    assert [problem.code for problem in node.problems] == ["mesh-renamed"]
    assert wanted(node) == 1


def test_unusable_store_is_said_and_disturbs_nothing(tmp_path: Path) -> None:
    node = booted(tmp_path / "missing" / "tulle.db", HELLO)
    node.take(node.prepare(loaded(TWO)), author="uid 0", why="apply", watched="w1")

    assert wanted(node) == 2
    assert "in memory only" in node.notes[0]


@pytest.mark.parametrize(
    "text", [TWO, TWO.replace("port: 80", "port: 80, expose: 8080", 1), BROKEN, TWO.replace("[web]", "[wbe]")]
)
def test_large_manifests_come_to_the_same_aside(text: str, database: Path) -> None:
    node = booted(database, HELLO)

    aside, here = node.prepared(lambda: read(text), LARGE), node.prepared(lambda: read(text), 0)

    assert aside == here
    assert bool(here.problems) is not bool(here.snapshot)


def test_a_compile_that_fails_aside_is_done_here(database: Path) -> None:
    node, ours = booted(database, HELLO), os.getpid()

    def fails_elsewhere() -> Loaded | list[Problem]:
        assert os.getpid() == ours
        return read(TWO)

    assert node.prepared(fails_elsewhere, LARGE) == node.prepare(read(TWO))


def killed_elsewhere() -> Callable[[], Loaded | list[Problem]]:
    """Reads TWO in this process; in any other it is killed."""
    ours = os.getpid()

    def reads() -> Loaded | list[Problem]:
        if os.getpid() != ours:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(TWO)

    return reads


def test_a_compile_that_is_killed_is_a_problem_and_what_runs_stays(database: Path) -> None:
    node = booted(database, HELLO)
    made = node.prepared(killed_elsewhere(), LARGE)

    applied = node.take(made, author=MANIFEST, why="mesh.yaml changed", watched="w2")

    assert [problem.code for problem in node.problems] == ["compile-killed"]
    assert "Killed" in node.problems[0].message
    assert (applied.outcome, applied.generation, wanted(node)) == (Outcome.INVALID, 1, 1)


def test_a_boot_whose_compile_is_killed_serves_the_last_good_one(database: Path) -> None:
    before = booted(database, HELLO)
    before.proxy_took(1)
    before.store.close()

    node = node_on(database)
    node.boot(killed_elsewhere(), LARGE, "w2")

    assert wanted(node) == 1
    assert node.planned == before.planned
    assert [problem.code for problem in node.problems] == ["compile-killed"]


def test_doors_of_the_status_are_those_of_the_snapshot(database: Path) -> None:
    assert node_on(database).doors == ()
    node = booted(database, HELLO.replace("port: 80}", "port: 80, expose: 8080}"))

    assert node.wanted is not None
    assert [door.port for door in node.doors] == [8080]
    assert node.doors == decode_snapshot(node.wanted.snapshot).doors


def test_refusals_without_end_are_not_all_kept(database: Path) -> None:
    node = booted(database, HELLO)
    for generation in range(2, 200):
        node.proxy_refused(generation, "no such thing")

    assert list(node.refused) == list(range(200 - REFUSALS_KEPT, 200))


PUSH = "telemetry: {prometheus: {push: 'http://metrics.example/write'}}\n"


def test_where_metrics_go_is_part_of_a_revision_and_survives_a_restart(database: Path) -> None:
    node = booted(database, HELLO)
    assert node.sinks.push is None

    applied = node.take(node.prepare(loaded(HELLO + PUSH)), author="eve", why="apply", watched="w1")

    assert wanted(node) == 2
    (change,) = applied.changes
    assert (change.what, change.name) == ("telemetry", "prometheus")
    assert any("metrics.example" in detail for detail in change.details)
    again = booted(database, HELLO)
    assert again.sinks.push is not None
    assert again.sinks.push.url == "http://metrics.example/write"


def test_a_number_that_was_overtaken_keeps_where_metrics_go(database: Path) -> None:
    node = booted(database, HELLO + PUSH)

    node.proxy_has(7)

    assert wanted(node) == 8
    assert node.sinks.push is not None
