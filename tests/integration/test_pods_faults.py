"""Any process of Tulle may die: what is left serves, and comes back; without the supervisor nothing is left."""

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.supervised import PATIENCE_SECONDS, RUNNERS, SPREAD, Supervised, supervised
from tools.footprint import descendants, is_running
from tools.ports import free_port
from tulle.wire.plan import Readiness

pytestmark = pytest.mark.user

SERVE = """
import socket
listener = socket.create_server(("127.0.0.1", 80))
while True:
    connection, _ = listener.accept()
    connection.sendall(b"served")
    connection.close()
"""
ECHO = "default/echo"


@pytest.fixture(params=RUNNERS)
def mesh(request: pytest.FixtureRequest) -> Iterator[Supervised]:
    with supervised(request.param) as one:
        one.apply(one.pod(ECHO, one.python, "-c", SERVE, readiness=Readiness(80)))
        one.await_state(ECHO, "ready")
        one.await_told("ready", ECHO)
        yield one


def test_without_the_supervisor_nothing_is_left_after_a_second(mesh: Supervised) -> None:
    mark = {"TULLE_TEST_POD": mesh.directory.name}
    mesh.apply(
        mesh.pod(ECHO, mesh.python, "-c", SERVE, readiness=Readiness(80)),
        mesh.pod("default/spread", mesh.python, "-c", SPREAD, env=mark),
        mesh.pod("default/plain", "/usr/bin/python3", "-c", SPREAD, env=mark, isolated=False),
    )
    mesh.wait_until(lambda: len(family(mesh)) == 5 + 2 + 4 + 4, "not yet: 5 of Tulle; inits with 1, 3 and 3 processes")
    everything = family(mesh)

    mesh.process.kill()
    mesh.process.wait()

    mesh.wait_until(
        lambda: not any(map(is_running, everything)) and not mesh.left_over(), "something is left", within=1
    )


def test_hosts_that_cannot_be_written_end_nothing(mesh: Supervised) -> None:
    hosts = mesh.runtime / "etc" / "hosts.default"
    hosts.unlink(missing_ok=True)
    hosts.symlink_to("elsewhere")

    mesh.apply(
        mesh.pod(ECHO, mesh.python, "-c", SERVE, readiness=Readiness(80)), hosts={"default": "127.0.0.1 localhost\n"}
    )

    mesh.wait_until(lambda: "cannot write what pods see as /etc/hosts" in mesh.words(), "nothing is said of it")
    mesh.await_state(ECHO, "ready")


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_box_without_descriptors_ends_nothing_and_all_is_done_once_it_has_some(runner: str) -> None:
    address = "127.80.3.4:80"
    with supervised(runner, "addresses") as mesh:
        pod = mesh.pod(ECHO, mesh.python, "-c", SERVE, readiness=Readiness(80))
        mesh.apply(pod)
        mesh.await_told("ready", ECHO)
        proxy, agent, broker = mesh.pid_of("fake_proxy"), mesh.pid_of("fake_agent"), mesh.broker_pid()
        before = mesh.limit_descriptors(3)

        late = mesh.pod("default/late", "sleep", "1000")
        mesh.apply(pod, late, addresses=[address], doors=[port := free_port()])
        for words in (
            "addresses in pods cannot be opened",
            "default/late cannot be started",
            f"cannot open port {port}",
        ):
            mesh.wait_until(lambda words=words: words in mesh.words(), f"never said: {words}")  # type: ignore[misc]
        mesh.kill(broker)
        mesh.wait_until(lambda: "the broker cannot be forked" in mesh.words(), "the broker is forked by magic")
        mesh.kill(proxy)
        mesh.wait_until(lambda: "the proxy cannot be started" in mesh.words(), "the proxy is started by magic")
        mesh.limit_descriptors(before)

        mesh.proxy.accept()
        mesh.await_told("address", f"{ECHO}@{address}")
        mesh.await_told("door", str(port))
        mesh.await_state(ECHO, "ready")
        assert mesh.ask("dial", pod=ECHO, port=80, text="") == "served"
        assert mesh.pid_of("fake_agent") == agent
        mesh.await_state("default/late", "impossible", "Too many open files")


def family(mesh: Supervised) -> list[int]:
    """The supervisor and all below it, whoever may read what of them."""
    return [mesh.process.pid, *descendants(mesh.process.pid)]


def test_a_killed_broker_is_forked_again_and_knows_every_pod(mesh: Supervised) -> None:
    broker = mesh.broker_pid()

    mesh.kill(broker)

    mesh.wait_until(lambda: mesh.broker_pid() not in (0, broker), "no other broker")
    assert mesh.ask("dial", pod=ECHO, port=80, text="") == "served"


def test_a_killed_proxy_is_told_everything_again_and_finds_its_memory(mesh: Supervised) -> None:
    mesh.ask("remember", text="generation 7")
    before = mesh.await_state(ECHO, "ready")

    mesh.kill(mesh.pid_of("fake_proxy"))

    mesh.proxy.accept()
    mesh.await_told("pod", ECHO)
    mesh.await_told("ready", ECHO)
    mesh.await_told("synced", "")
    assert mesh.ask("recall").startswith("generation 7")
    assert mesh.ask("dial", pod=ECHO, port=80, text="") == "served"
    assert mesh.statuses_now()[ECHO] == before


def test_a_killed_agent_disturbs_no_pod(mesh: Supervised) -> None:
    before = mesh.await_state(ECHO, "ready")

    mesh.kill(mesh.pid_of("fake_agent"))

    mesh.agent.accept()
    mesh.statuses = {}
    assert mesh.await_state(ECHO, "ready") == before
    assert mesh.ask("dial", pod=ECHO, port=80, text="") == "served"


def test_a_killed_stem_ends_no_pod_and_the_next_ones_start(mesh: Supervised) -> None:
    before, broker, stem = mesh.await_state(ECHO, "ready"), mesh.broker_pid(), mesh.stem_pid()
    mesh.kill(stem)
    mesh.wait_until(lambda: not mesh.stem_pid(), "it does not die, or something else bears its name")

    other = mesh.pod("default/plain", "/usr/bin/python3", "-c", "import signal; signal.pause()", isolated=False)
    mesh.apply(*mesh.plan.pods, mesh.pod("default/other", mesh.python, "-c", SERVE), other)

    assert mesh.await_state("default/other", "ready").restarts == 0
    mesh.await_state("default/plain", "ready")
    assert mesh.stem_pid() not in (0, stem)
    assert (mesh.statuses[ECHO], mesh.broker_pid()) == (before, broker)


def test_a_stem_that_does_not_answer_is_replaced(mesh: Supervised) -> None:
    stem = mesh.stem_pid()
    mesh.kill(stem, signal.SIGSTOP)

    mesh.apply(*mesh.plan.pods, mesh.pod("default/other", mesh.python, "-c", SERVE, readiness=Readiness(80)))

    mesh.await_state("default/other", "ready")
    assert mesh.stem_pid() not in (0, stem)


def test_what_pods_come_from_holds_nothing_of_theirs_and_they_nothing_of_its(mesh: Supervised) -> None:
    pod, stem = mesh.statuses[ECHO].pid, mesh.stem_pid()

    for pid in (pod, stem):
        assert {mesh.status_of(pid)[one] for one in ("SigBlk", "SigPnd", "ShdPnd")} == {"0" * 16}
    assert mesh.status_of(stem)["SigCgt"] == "0" * 16
    if os.getuid() == 0:  # nobody else may look
        (line,) = [what for number, what in held(stem).items() if number > 2]
        assert line.startswith("socket:"), "the supervisor's line"
        kinds = sorted(what.partition(":")[0] for number, what in held(pod).items() if number > 2)
        assert kinds == ["/dev/null", "socket", "socket", "socket"], "its line, and two ends to be woken by"
        assert line not in held(pod).values()


def held(pid: int) -> dict[int, str]:
    """Descriptor → what it is of."""
    return {int(one.name): str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()}


def test_a_supervisor_that_was_told_to_stop_ends_last_whatever_hangs(mesh: Supervised) -> None:
    forked = mesh.broker_pid(), mesh.stem_pid()
    with contextlib.ExitStack() as around:
        supervisor, *others = (os.pidfd_open(pid) for pid in (mesh.process.pid, *forked))
        for watch in (supervisor, *others):
            around.callback(os.close, watch)
        for pid in forked:
            mesh.kill(pid, signal.SIGSTOP)

        mesh.process.send_signal(signal.SIGTERM)

        assert select.select([supervisor], [], [], PATIENCE_SECONDS)[0]
        assert select.select(others, [], [], 0)[0] == others
    assert mesh.process.wait() == 0


def test_what_is_no_plan_changes_nothing(mesh: Supervised) -> None:
    before = mesh.await_state(ECHO, "ready")

    for nonsense in (b"\n", b"{}\n", b"[1]\n", b'{"pods": 3}\n', b"\xff\xfe\n"):
        mesh.agent.send(nonsense)
    mesh.wait_until(lambda: mesh.words().count("not a plan") >= 5, "the supervisor did not complain")

    mesh.apply(*mesh.plan.pods, mesh.pod("default/other", mesh.python, "-c", SERVE))
    mesh.await_state("default/other", "ready")
    assert mesh.statuses[ECHO] == before


def test_the_broker_answers_what_it_cannot_do(mesh: Supervised) -> None:
    assert "no pod" in mesh.ask("broker", pod="default/nobody", family=4)["error"]
    assert "neither" in mesh.ask("broker", pod=ECHO, family=5)["error"]
    assert mesh.ask("broker", pod=ECHO, family=6) == {"made": True}


def test_the_proxy_has_no_capability_and_no_way_to_one(mesh: Supervised) -> None:
    status = mesh.ask("status")

    assert {status[one] for one in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd")} == {"0000000000000000"}
    assert status["NoNewPrivs"] == "1"
    assert "0" not in status["Uid"].split()


@pytest.mark.parametrize(
    "text",
    [
        "", "\xff", "no JSON", "null", "[]", "[" * 1024, '{"id": ' * 140, "x" * 100_000,
        '{"id": 1e400, "pod": "a/b", "family": 4}', '{"id": NaN, "pod": "a/b", "family": 4}', '{"id": 1, "pod": "a/b"}',
    ],
)  # fmt: skip
def test_the_broker_outlives_a_proxy_that_talks_nonsense(mesh: Supervised, text: str) -> None:
    broker = mesh.broker_pid()

    assert "a request has id, pod and family" in mesh.ask("broker_hears", text=text)

    assert mesh.ask("broker", pod=ECHO, family=4) == {"made": True}
    assert mesh.broker_pid() == broker
    if os.getuid() == 0:  # nobody else may look at what the broker holds
        assert len(list(Path(f"/proc/{broker}/fd").iterdir())) < 12


def test_the_broker_holds_one_capability_and_pid_1_of_a_pod_none(mesh: Supervised) -> None:
    pid = mesh.statuses[ECHO].pid

    assert int(mesh.status_of(mesh.broker_pid())["CapEff"], 16) == 1 << 21
    assert int(mesh.status_of(pid)["CapEff"], 16) == 0
    assert mesh.status_of(pid)["Seccomp"] == "2"


def test_a_supervisor_that_is_told_to_stop_while_pods_start_stops(mesh: Supervised) -> None:
    mesh.apply(*(mesh.pod(f"default/p{n}", mesh.python, "-c", SERVE) for n in range(5)))

    mesh.process.send_signal(signal.SIGINT)

    assert mesh.process.wait(20) == 0
    assert not mesh.left_over()
