"""Containers in pods: run by podman as root, they start, speak, are reached, end, come back and stop as any pod does."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import Storage, container, own_storage, shell, supervised_with
from tests.support.programs import needs
from tests.support.supervised import RUNNERS, Supervised
from tools.footprint import children, descendants, is_running, name_of
from tulle.wire.plan import Readiness

pytestmark = [
    pytest.mark.skipif("root" not in RUNNERS, reason="containers need root"),
    needs("podman", "busybox"),
]

WEB = "default/web"
SERVE = "mkdir -p /tmp/www; echo served > /tmp/www/index.html; exec httpd -f -p {port} -h /tmp/www"
SLEEP = "exec sleep 1000"

SLOW_PODMAN = """\
#!/bin/sh
{podman} "$@"
code=$?
case " $* " in *" --detach "*)
    while grep -qs '^State:.[RSD]' $(grep -ls '^Name:.conmon$' /proc/[0-9]*/status) /dev/null; do sleep 0.02; done;;
esac
exit $code
"""
"""Is done once the container has ended and conmon has cleaned up."""


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    with own_storage() as one:
        one.build_busybox()
        yield one


@pytest.fixture
def mesh(storage: Storage) -> Iterator[Supervised]:
    with supervised_with(storage) as one:
        yield one


def test_an_image_says_what_runs_and_a_command_says_otherwise(mesh: Supervised) -> None:
    mesh.apply(container(mesh, WEB), shell(mesh, "default/other", f"echo said; echo wrong >&2; {SLEEP}"))

    mesh.await_state(WEB, "ready")
    assert mesh.await_line(WEB, "speaks") == "the image speaks"
    mesh.await_line("default/other", "said")
    mesh.await_line("default/other", "wrong")
    log = (mesh.state / "logs" / "default_other.log").read_text()
    assert " stdout F said\n" in log
    assert " stderr F wrong\n" in log


def test_environment_and_name_are_as_declared(mesh: Supervised) -> None:
    env = {"PLAIN": "a b=c # d", "LINES": "one\ntwo", "PATH": "/bin:/else"}
    mesh.apply(
        shell(mesh, WEB, f'echo "$PLAIN|$LINES|$PATH|$(hostname)|$(env | grep -c TULLE_TEST_MARK)"; {SLEEP}', env=env)
    )

    mesh.await_line(WEB, "two")
    assert mesh.log_lines(WEB) == ["a b=c # d|one", "two|/bin:/else|web|0"]


def test_no_value_of_a_variable_stands_in_a_command_that_others_may_read(storage: Storage, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    podman = tmp_path / "podman"
    podman.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >&2\nexec {shutil.which("podman")} "$@"\n')
    podman.chmod(0o755)
    env = {"KEY": "-----BEGIN\nhunter2\n", "TOKEN": "hunter3"}
    with supervised_with(storage, PATH=f"{tmp_path}:{os.environ['PATH']}") as mesh:
        mesh.apply(shell(mesh, WEB, f"echo has ${{#KEY}} and ${{#TOKEN}}; {SLEEP}", env=env))
        mesh.await_line(WEB, "has 19 and 7")

        said = mesh.log_lines(WEB)
    assert "--detach" in said
    assert not [line for line in said if "hunter" in line]


def test_a_container_is_ready_once_its_port_answers_and_is_reached_there(mesh: Supervised) -> None:
    mesh.apply(shell(mesh, WEB, SERVE.format(port=80), readiness=Readiness(80, "/index.html")))

    mesh.await_state(WEB, "ready")
    answer = mesh.ask("dial", pod=WEB, port=80, text="GET /index.html HTTP/1.0\r\n\r\n")
    assert answer.startswith("HTTP/1.1 200 OK")
    assert answer.endswith("served\n")


def test_a_container_that_answers_no_more_is_unready(mesh: Supervised) -> None:
    script = f"({SERVE.format(port=80)}) & read line < /tmp/told; kill %1; {SLEEP}"
    mesh.apply(
        shell(
            mesh, WEB, f"mkfifo /tmp/told; {script}", readiness=Readiness(80, period_seconds=0.1, failure_threshold=1)
        )
    )
    running = mesh.await_state(WEB, "ready")

    told = Path(f"/proc/{first_process(running.pid)}/root/tmp/told")
    descriptor = os.open(told, os.O_WRONLY)
    os.write(descriptor, b"stop\n")
    os.close(descriptor)

    mesh.await_state(WEB, "unready", "Connection refused")


def test_what_a_container_dials_arrives_at_its_own_listener(mesh: Supervised) -> None:
    mesh.apply(
        shell(mesh, WEB, f"echo asked | nc orders 80; {SLEEP}"),
        hosts={"default": "127.0.0.1 localhost\n127.80.3.4 orders\n"},
    )
    mesh.await_told("pod", WEB)

    arrived = mesh.ask("accept", name=WEB, reply="proxy\n")

    assert arrived == {"meant": ["127.80.3.4", 80], "at": ["127.0.0.1", 15001]}
    mesh.await_line(WEB, "proxy")


def test_a_new_name_reaches_a_running_container(mesh: Supervised) -> None:
    pod = shell(mesh, WEB, f"until grep orders /etc/hosts; do sleep 0.05; done; {SLEEP}")
    mesh.apply(pod, hosts={"default": "127.0.0.1 localhost\n"})
    before = mesh.await_state(WEB, "ready")

    mesh.apply(pod, hosts={"default": "127.0.0.1 localhost\n127.80.0.9 orders\n"})

    mesh.await_line(WEB, "127.80.0.9 orders")
    assert mesh.statuses_now()[WEB] == before


@pytest.mark.parametrize(("script", "said"), [("exit 3", "exit 3"), ("kill -9 $$", ""), ("exit 0", "exit 0")])
def test_how_a_container_ended_is_told_and_it_comes_back(mesh: Supervised, script: str, said: str) -> None:
    mesh.apply(shell(mesh, WEB, f"echo once; {script or SLEEP}; {SLEEP}" if not said else script))
    if not said:  # the first process of a PID namespace cannot kill itself, so somebody outside does
        mesh.await_line(WEB, "once")
        os.kill(first_process(mesh.await_state(WEB, "ready").pid), signal.SIGKILL)
        said = "exit 137 (SIGKILL)"

    assert mesh.await_status(WEB, lambda s: s.restarts > 0, "started again").why == said


def test_how_a_container_ended_is_told_however_late_it_is_asked(mesh: Supervised) -> None:
    """Once its end is written down nothing cleans that up."""
    mesh.apply(shell(mesh, WEB, "echo up; trap 'exit 7' TERM; while true; do sleep 0.05; done"))
    mesh.await_line(WEB, "up")
    init = mesh.await_state(WEB, "ready").pid
    (conmon,) = children(init)

    os.kill(init, signal.SIGSTOP)
    os.kill(first_process(init), signal.SIGTERM)
    mesh.wait_until(lambda: not is_running(conmon), "conmon goes on")
    os.kill(init, signal.SIGCONT)

    assert mesh.await_status(WEB, lambda s: s.restarts > 0, "started again").why == "exit 7"


def test_how_a_container_ended_before_podman_did_is_told(storage: Storage, tmp_path: Path) -> None:
    """What podman cleans up meanwhile is lost with the file that says it."""
    podman = tmp_path / "podman"
    podman.write_text(SLOW_PODMAN.format(podman=shutil.which("podman")))
    podman.chmod(0o755)
    tmp_path.chmod(0o755)
    with supervised_with(storage, PATH=f"{tmp_path}:{os.environ['PATH']}") as mesh:
        mesh.apply(shell(mesh, WEB, "exit 3"))

        assert mesh.await_status(WEB, lambda s: s.restarts > 0, "started again").why == "exit 3"


def test_a_command_that_the_image_lacks_is_named(mesh: Supervised) -> None:
    mesh.apply(container(mesh, WEB, "/bin/nonesuch"))

    why = mesh.await_state(WEB, "backoff").why
    assert "podman cannot start it" in why
    assert "/bin/nonesuch" in why


def test_a_container_is_asked_to_stop_and_then_made_to(mesh: Supervised) -> None:
    polite = "trap 'echo asked; exit 0' TERM; echo up; while true; do sleep 0.05; done"
    mesh.apply(
        shell(mesh, WEB, polite, stop_seconds=60.0),
        shell(mesh, "default/deaf", f"trap '' TERM; echo up; {SLEEP}", stop_seconds=0.2),
    )
    for name in (WEB, "default/deaf"):
        mesh.await_line(name, "up")
    pods = [mesh.await_state(name, "ready").pid for name in (WEB, "default/deaf")]
    everything = [one for pid in pods for one in (pid, *descendants(pid))]

    mesh.apply()

    mesh.await_absence(WEB)
    mesh.await_absence("default/deaf")
    assert mesh.log_lines(WEB)[-1] == "asked"
    assert not [pid for pid in everything if is_running(pid)]


def test_a_changed_container_is_another_and_an_unchanged_one_is_not_touched(mesh: Supervised) -> None:
    same = shell(mesh, "default/same", f"echo up; {SLEEP}")
    mesh.apply(same, shell(mesh, WEB, f"echo first; {SLEEP}"))
    mesh.await_line(WEB, "first")
    before = mesh.await_state("default/same", "ready")

    mesh.apply(same, shell(mesh, WEB, f"echo second; {SLEEP}"))

    mesh.await_line(WEB, "second")
    assert mesh.statuses_now()["default/same"] == before


def test_each_start_begins_with_the_image_as_it_is(mesh: Supervised) -> None:
    mesh.apply(shell(mesh, WEB, "ls /tmp/left; touch /tmp/left; exit 1"))

    mesh.await_status(WEB, lambda s: s.restarts > 1, "started twice more")
    assert "/tmp/left" not in mesh.log_lines(WEB)


def test_without_the_supervisor_no_container_is_left_after_a_second(mesh: Supervised) -> None:
    mesh.apply(shell(mesh, WEB, f"(setsid {SLEEP[5:]} &) ; echo up; {SLEEP}"))
    mesh.await_line(WEB, "up")
    mesh.await_state(WEB, "ready")
    mesh.wait_until(lambda: kinds(family(mesh)) == [1, 2, 0], "not yet: conmon and two that sleep, without podman")
    everything = family(mesh)

    mesh.process.kill()
    mesh.process.wait()

    mesh.wait_until(lambda: not any(map(is_running, everything)), "something is left", within=1)
    mesh.start()
    mesh.apply(shell(mesh, WEB, f"echo again; {SLEEP}"))
    mesh.await_line(WEB, "again")


def test_a_killed_conmon_does_not_end_the_container_and_its_end_is_still_told(mesh: Supervised) -> None:
    mesh.apply(shell(mesh, WEB, f"echo up; {SLEEP}"))
    mesh.await_line(WEB, "up")
    pid = mesh.await_state(WEB, "ready").pid
    service = first_process(pid)
    conmon = next(one for one in descendants(pid) if name_of(one) == "conmon")

    os.kill(conmon, signal.SIGKILL)
    mesh.wait_until(lambda: not is_running(conmon), "conmon is there")
    assert is_running(service)
    os.kill(service, signal.SIGKILL)

    assert (
        mesh.await_status(WEB, lambda s: s.restarts > 0, "started again").why == "an end that podman does not tell of"
    )


def test_nothing_of_a_container_is_kept_by_the_boxs_podman_or_its_cgroups(mesh: Supervised, storage: Storage) -> None:
    images = storage.podman("images", "--quiet", "--no-trunc")
    mesh.apply(shell(mesh, WEB, f"echo up; {SLEEP}", memory=64 << 20))
    mesh.await_line(WEB, "up")
    directories = cgroups(first_process(mesh.await_state(WEB, "ready").pid))
    assert directories
    assert all("/tulle/test.default.web/" in str(one) for one in directories)
    assert storage.podman("ps", "--all", "--quiet") == ""

    mesh.apply()
    mesh.await_absence(WEB)

    assert [one for one in directories if one.exists()] == []
    assert storage.podman("images", "--quiet", "--no-trunc") == images
    assert storage.podman("volume", "ls", "--quiet") == ""


def test_processors_are_limited(mesh: Supervised) -> None:
    mesh.apply(shell(mesh, WEB, f"echo up; {SLEEP}", cpus=0.5))
    mesh.await_line(WEB, "up")

    assert processors(cgroups(first_process(mesh.await_state(WEB, "ready").pid))) == 0.5


def test_what_needs_more_memory_than_it_may_have_is_ended(mesh: Supervised) -> None:
    mesh.apply(shell(mesh, WEB, "exec dd if=/dev/zero of=/dev/null bs=100M count=1", memory=32 << 20))

    assert mesh.await_status(WEB, lambda s: s.restarts > 0, "started again").why == "exit 137 (SIGKILL)"


def test_where_cgroups_are_not_to_be_had_containers_run_and_the_status_says_that_no_limit_holds(
    storage: Storage,
) -> None:
    mesh = Supervised("root")
    mesh.environment = storage.environment
    mesh.wrapper = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh"]
    with mesh:
        mesh.apply(shell(mesh, WEB, SLEEP, memory=32 << 20), shell(mesh, "default/other", SLEEP))

        mesh.await_state(WEB, "ready", "no limit of memory and processors holds here: ")
        assert mesh.await_state("default/other", "ready").why == ""


def test_what_lies_below_run_is_found_by_podman_all_the_same(storage: Storage) -> None:
    """As where nothing else is said: there Tulle's runtime directory is, and a container's own /run covers it."""
    place = Path(tempfile.mkdtemp(prefix="tulle-test-", dir="/run"))
    (place / "given").write_text("given\n")
    mesh = Supervised("root")
    mesh.environment = storage.environment | {"TULLE_RUNTIME_DIR": str(place / "tulle")}
    try:
        with mesh:
            mounts = [(str(place / "given"), "/given", "ro")]
            mesh.apply(
                shell(mesh, WEB, f"cat /given /etc/hosts; {SLEEP}", mounts=mounts),
                hosts={"default": "127.0.0.1 localhost\n127.80.3.4 orders\n"},
            )

            mesh.await_line(WEB, "orders")
            assert "given" in mesh.log_lines(WEB)
    finally:
        shutil.rmtree(place)


def processors(directories: list[Path]) -> float:
    """How many the cgroups of a container may have."""
    for directory in directories:
        if (directory / "cpu.cfs_quota_us").exists():
            return int((directory / "cpu.cfs_quota_us").read_text()) / int(
                (directory / "cpu.cfs_period_us").read_text()
            )
        if (directory / "cpu.max").exists():
            quota, period = (directory / "cpu.max").read_text().split()
            return int(quota) / int(period)
    raise AssertionError(f"none of {directories} limits processors")


def cgroups(pid: int) -> list[Path]:
    """Directories of the cgroups that a process is in, in every hierarchy."""
    root = Path("/sys/fs/cgroup")
    paths = {line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()}
    return [Path(f"{one}{path}") for one in (root, *root.iterdir()) for path in paths if Path(f"{one}{path}").is_dir()]


def family(mesh: Supervised) -> list[int]:
    """All that the supervisor has started, however deep."""
    return [one for pid in mesh.children() for one in (pid, *descendants(pid))]


def kinds(pids: list[int]) -> list[int]:
    """How many of them are conmon, sleep and podman."""
    names = [name_of(pid) for pid in pids]
    return [names.count(one) for one in ("conmon", "sleep", "podman")]


def first_process(pid: int) -> int:
    """Of the container whose pod has this process 1."""
    inside = [one for one in descendants(pid) if own_number(one) == "1"]
    return inside[0]


def own_number(pid: int) -> str:
    """The number by which a process knows itself; empty when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return next(line for line in lines if line.startswith("NSpid:")).split()[-1]
