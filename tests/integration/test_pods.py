"""Pods on a real supervisor, as root and as an ordinary user: they start, speak, end, come back and stop."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.supervised import RUNNERS, SPREAD, Supervised, python_for, supervised
from tools.ports import free_port
from tulle.wire.plan import DoorState, DoorStatus, Readiness

ECHO = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"echo " + connection.recv(100))
    connection.close()
"""

ATTEMPT = """
import os
def attempt(name, act):
    try: act(); print(name, "done", flush=True)
    except OSError as fault: print(name, fault.strerror, flush=True)
"""
MOODY = """
import select, socket
web, told, other = (socket.create_server(("127.0.0.1", port)) for port in (80, 81, 82))
mood, open_ones = "200", [web, told, other]
while True:
    for one in select.select(open_ones, [], [])[0]:
        if one not in open_ones:
            continue
        connection, _ = one.accept()
        if one is told:
            text = connection.recv(100).decode()
            if text == "close":
                open_ones.remove(other)
                other.close()
            else:
                mood = text
            connection.sendall(f"will say {mood}".encode())
        elif one is web:
            connection.recv(1000)
            connection.sendall(f"HTTP/1.1 {mood} Mood\\r\\n\\r\\n".encode())
        connection.close()
"""

pytestmark = pytest.mark.user


@pytest.fixture(params=RUNNERS)
def mesh(request: pytest.FixtureRequest) -> Iterator[Supervised]:
    with supervised(request.param) as one:
        yield one


def test_a_pod_is_ready_once_its_port_answers(mesh: Supervised) -> None:
    mesh.apply(mesh.pod("default/echo", mesh.python, "-c", ECHO, "0.0.0.0", "80", readiness=Readiness(80)))

    mesh.await_state("default/echo", "ready")
    mesh.await_told("pod", "default/echo")
    mesh.await_told("ready", "default/echo")

    assert mesh.ask("dial", pod="default/echo", port=80, text="hello") == "echo hello"


def test_a_service_that_answers_no_more_is_unready_until_it_does_again(mesh: Supervised) -> None:
    readiness = Readiness(80, "/health", period_seconds=0.05, failure_threshold=2)
    mesh.apply(mesh.pod("default/moody", mesh.python, "-c", MOODY, readiness=readiness))
    before = mesh.await_state("default/moody", "ready")
    mesh.await_told("ready", "default/moody")

    mesh.ask("dial", pod="default/moody", port=81, text="503")

    mesh.await_told("unready", "default/moody")
    unready = mesh.await_state("default/moody", "unready", "GET /health at port 80: 503")
    assert (unready.pid, unready.restarts) == (before.pid, 0)
    assert mesh.ask("dial", pod="default/moody", port=81, text="200") == "will say 200"
    mesh.await_told("ready", "default/moody")
    mesh.await_state("default/moody", "ready")


def test_a_port_that_closes_makes_its_service_unready(mesh: Supervised) -> None:
    mesh.apply(
        mesh.pod("default/moody", mesh.python, "-c", MOODY, readiness=Readiness(82, "", 60.0, 1.0, 0.05, 1)),
    )
    mesh.await_state("default/moody", "ready")

    mesh.ask("dial", pod="default/moody", port=81, text="close")

    mesh.await_state("default/moody", "unready", "port 82: Connection refused")


@pytest.mark.parametrize("status", ["500", "404"])
def test_what_answers_with_an_error_is_not_ready_and_the_status_says_which(mesh: Supervised, status: str) -> None:
    readiness = Readiness(80, "/health", startup_seconds=0.05)
    mesh.apply(mesh.pod("default/moody", mesh.python, "-c", MOODY.replace('"200"', f'"{status}"'), readiness=readiness))

    mesh.await_state("default/moody", "starting", f"not ready in time; still asked: GET /health at port 80: {status}")
    mesh.await_told("pod", "default/moody")
    assert mesh.ask("dial", pod="default/moody", port=81, text="204") == "will say 204"

    mesh.await_told("ready", "default/moody")
    mesh.await_state("default/moody", "ready")
    states = [seen["default/moody"].state for seen in mesh.seen if "default/moody" in seen]
    assert "ready" not in states[:-1]


def test_a_service_on_ipv6_alone_is_found_ready(mesh: Supervised) -> None:
    mesh.apply(mesh.pod("default/echo", mesh.python, "-c", ECHO, "::1", "8080", readiness=Readiness(8080)))

    mesh.await_state("default/echo", "ready")

    assert mesh.ask("dial", pod="default/echo", port=8080, text="six", family=6) == "echo six"


def test_what_a_pod_dials_arrives_at_its_own_listener(mesh: Supervised) -> None:
    dial = "import socket; c = socket.create_connection(('orders', 80), 10); print('heard', c.recv(100).decode())"
    mesh.apply(
        mesh.pod("default/web", mesh.python, "-uc", dial),
        hosts={"default": "127.0.0.1 localhost\n127.80.3.4 orders\n"},
    )
    mesh.await_told("pod", "default/web")

    arrived = mesh.ask("accept", name="default/web", reply="proxy")

    assert arrived == {"meant": ["127.80.3.4", 80], "at": ["127.0.0.1", 15001]}
    mesh.await_line("default/web", "heard proxy")


def test_a_new_name_reaches_a_running_pod(mesh: Supervised) -> None:
    look = """
import socket, time
while True:
    try:
        print(socket.gethostbyname("orders")); break
    except OSError:
        open("/proc/self/stat").read(); time.sleep(0.01)
time.sleep(1000)
"""
    pod = mesh.pod("default/web", mesh.python, "-uc", look)
    mesh.apply(pod, hosts={"default": "127.0.0.1 localhost\n"})
    before = mesh.await_state("default/web", "ready")

    mesh.apply(pod, hosts={"default": "127.0.0.1 localhost\n127.80.0.9 orders\n"})

    mesh.await_line("default/web", "127.80.0.9")
    assert mesh.statuses_now()["default/web"] == before


def test_a_crash_loop_is_seen_and_slows_down(mesh: Supervised) -> None:
    mesh.apply(mesh.pod("default/web", mesh.python, "-c", "import sys; sys.exit(3)"))

    status = mesh.await_status(
        "default/web", lambda s: s.restarts >= 3 and s.state == "backoff", "crashing again and again"
    )

    assert status.why == "exit 3"
    begun = [seen["default/web"] for seen in mesh.seen if seen and seen["default/web"].state == "backoff"]
    pauses = [later.since - earlier.since for earlier, later in itertools.pairwise(begun)]
    assert all(pause >= 0.1 * 2**number for number, pause in enumerate(pauses))


def test_a_command_that_does_not_exist_is_named(mesh: Supervised) -> None:
    mesh.apply(mesh.pod("default/web", "no-such-program"))

    mesh.await_state("default/web", "backoff", "cannot run no-such-program: no such program in PATH")


def test_the_supervisors_log_says_how_a_pod_ended_and_when_it_starts_again(mesh: Supervised) -> None:
    die = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    mesh.apply(
        mesh.pod("default/exits", mesh.python, "-c", "raise SystemExit(7)"),
        mesh.pod("default/dies", mesh.python, "-c", die),
        mesh.pod("default/stays", mesh.python, "-c", ECHO, "0.0.0.0", "80", readiness=Readiness(80)),
    )
    for name in ("default/exits", "default/dies"):
        mesh.await_status(name, lambda s: s.restarts >= 2, "started again twice")
    mesh.await_state("default/stays", "ready")
    mesh.apply()
    mesh.await_absence("default/stays")

    said = mesh.log_lines("supervisor")

    for line in ("default/exits ended (exit 7)", "default/dies ended (signal SIGKILL)"):
        assert [one.rpartition(" in ")[2] for one in said if one.startswith(line)][:2] == ["0.1 s", "0.2 s"]
    assert [one for one in said if "default/stays" in one] == []


def test_a_user_that_cannot_be_is_refused_in_words_and_the_others_start(mesh: Supervised) -> None:
    echo = mesh.pod("default/echo", mesh.python, "-c", ECHO, "0.0.0.0", "80", readiness=Readiness(80))
    user = "daemon" if mesh.uid else "nobody-of-this-box"
    why = "this user may not start a process as daemon" if mesh.uid else "no user nobody-of-this-box on this box"
    mesh.apply(mesh.pod("default/web", "true", user=user), echo)

    mesh.await_state("default/web", "impossible", why)
    mesh.await_state("default/echo", "ready")
    assert "user needs root" in mesh.statuses["default/web"].why
    assert any(one.startswith("default/web cannot be started: ") and why in one for one in mesh.log_lines("supervisor"))


@pytest.mark.parametrize("runner", RUNNERS[-1:])
def test_an_ordinary_user_may_name_himself(runner: str) -> None:
    with supervised(runner) as mesh:
        show = "import os; print('uid', os.getuid(), flush=True)"
        mesh.apply(mesh.pod("default/web", mesh.python, "-c", show, user=str(mesh.uid)))

        assert mesh.await_line("default/web", "uid") == f"uid {mesh.uid}"


def test_a_restarted_pod_has_a_new_listener(mesh: Supervised) -> None:
    mesh.apply(mesh.pod("default/echo", mesh.python, "-c", ECHO, "127.0.0.1", "80", readiness=Readiness(80)))
    pid = mesh.await_state("default/echo", "ready").pid
    mesh.await_told("ready", "default/echo")

    mesh.kill(pid)

    mesh.await_told("unready", "default/echo")
    mesh.await_told("pod", "default/echo")
    mesh.await_told("ready", "default/echo")
    mesh.await_status("default/echo", lambda s: s.restarts == 1 and s.state == "ready", "ready again")
    assert mesh.statuses["default/echo"].why == "signal SIGKILL"
    assert mesh.ask("dial", pod="default/echo", port=80, text="again") == "echo again"


def test_a_pod_waits_for_what_it_depends_on(mesh: Supervised) -> None:
    store = mesh.pod("default/store", mesh.python, "-c", ECHO, "127.0.0.1", "80", readiness=Readiness(80))
    web = mesh.pod("default/web", mesh.python, "-c", ECHO, "127.0.0.1", "80", depends_on=["default/store"])
    mesh.apply(web)
    mesh.await_state("default/web", "waiting", "waits for default/store")

    mesh.apply(web, store)

    mesh.await_state("default/web", "ready")
    begun = [seen for seen in mesh.seen if seen and seen["default/web"].state != "waiting"]
    assert all(seen["default/store"].state == "ready" for seen in begun)


def test_a_changed_plan_touches_only_what_changed(mesh: Supervised) -> None:
    serve = (mesh.python, "-c", ECHO, "127.0.0.1")
    kept, changed, removed = (mesh.pod(f"default/{one}", *serve, "80") for one in ("kept", "changed", "removed"))
    mesh.apply(kept, changed, removed)
    before = [mesh.await_state(one.name, "ready") for one in (kept, changed, removed)]

    mesh.apply(kept, changed._replace(env={"COLOUR": "red"}))

    mesh.await_absence("default/removed")
    mesh.await_status("default/changed", lambda s: s.state == "ready" and s.pid != before[1].pid, "another process")
    assert mesh.statuses["default/kept"] == before[0]
    mesh.await_told("gone", "default/removed")


def test_a_service_is_asked_to_stop_and_then_made_to(mesh: Supervised) -> None:
    polite = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit('bye')); print('up', flush=True); time.sleep(1000)"
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"
    mesh.apply(
        mesh.pod("default/polite", mesh.python, "-c", polite),
        mesh.pod("default/deaf", mesh.python, "-c", deaf, stop_seconds=0.3),
    )
    mesh.await_line("default/polite", "up")
    mesh.await_line("default/deaf", "up")
    mesh.await_state("default/polite", "ready")
    mesh.await_state("default/deaf", "ready")

    mesh.apply()

    mesh.await_absence("default/deaf")
    mesh.await_absence("default/polite")
    assert "bye" in mesh.log_lines("default/polite")


def test_another_plan_meanwhile_spares_nobody_the_deadline(mesh: Supervised) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"
    mesh.apply(mesh.pod("default/deaf", mesh.python, "-c", deaf, stop_seconds=1.0))
    mesh.await_line("default/deaf", "up")
    mesh.await_state("default/deaf", "ready")

    mesh.apply()
    mesh.await_state("default/deaf", "stopping")
    mesh.apply(mesh.pod("default/other", "sleep", "1000"))

    mesh.await_absence("default/deaf")
    mesh.await_state("default/other", "ready")


def test_stopping_ends_dependents_first_and_leaves_nothing(mesh: Supervised) -> None:
    stop = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit('down')); print('up', flush=True); time.sleep(1000)"
    mesh.apply(
        mesh.pod("default/store", mesh.python, "-c", stop),
        mesh.pod("default/web", mesh.python, "-c", stop, depends_on=["default/store"]),
    )
    mesh.await_line("default/store", "up")
    mesh.await_line("default/web", "up")

    mesh.process.send_signal(signal.SIGTERM)

    assert mesh.process.wait(20) == 0
    assert not mesh.left_over()
    ended = {name: mesh.stamp_of(f"default/{name}", "down") for name in ("web", "store")}
    assert ended["web"] < ended["store"]
    assert not (mesh.runtime / "admin.sock").exists()


def test_environment_and_place_are_as_declared(mesh: Supervised) -> None:
    show = "import json, os, sys; print(json.dumps([dict(os.environ), os.getcwd(), sorted(os.listdir('/dev')), os.getpid(), sys.stdin.read()]))"
    (mesh.home / "app").mkdir()
    mesh.apply(mesh.pod("default/web", mesh.python, "-c", show, env={"COLOUR": "red"}, cwd=str(mesh.home / "app")))

    env, cwd, devices, pid, stdin = json.loads(mesh.await_line("default/web", "COLOUR"))

    assert env["COLOUR"] == "red"
    assert set(env) <= {"PATH", "HOME", "USER", "LANG", "TZ", "COLOUR", "LC_CTYPE"}
    assert cwd == str(mesh.home / "app")
    assert devices == [
        "fd",
        "full",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "urandom",
        "zero",
    ]
    assert pid > 1
    assert stdin == ""


def test_only_declared_paths_are_writable_and_protected_ones_never(mesh: Supervised) -> None:
    mesh.home.joinpath("data").mkdir(mode=0o777)
    mesh.home.joinpath("data").chmod(0o777)
    write = f"""{ATTEMPT}
attempt("data", lambda: open("data/x", "w"))
attempt("beside", lambda: open("y", "w"))
attempt("manifest", lambda: open("mesh.yaml", "a"))
attempt("rename", lambda: os.rename("mesh.yaml", "other"))
attempt("tmp", lambda: open("/tmp/x", "w"))
attempt("end", lambda: None)
"""
    mesh.apply(mesh.pod("default/web", mesh.python, "-c", write, writable=["data"]))

    mesh.await_line("default/web", "end done")

    said = dict(line.split(" ", 1) for line in mesh.log_lines("default/web"))
    assert said == {
        "data": "done",
        "beside": "Read-only file system",
        "manifest": "Read-only file system" if mesh.uid else "Permission denied",
        "rename": "Read-only file system",
        "tmp": "done",
        "end": "done",
    }
    assert (mesh.home / "data" / "x").exists()


def test_the_mesh_file_in_a_writable_directory_stays_as_it_is(mesh: Supervised) -> None:
    mesh.home.chmod(0o777)
    write = f"""{ATTEMPT}
attempt("beside", lambda: open("y", "w"))
attempt("manifest", lambda: open("mesh.yaml", "a"))
attempt("rename", lambda: os.rename("mesh.yaml", "other"))
attempt("remove", lambda: os.remove("mesh.yaml"))
"""
    mesh.apply(mesh.pod("default/web", mesh.python, "-c", write, writable=["."]))

    mesh.await_line("default/web", "remove")

    said = dict(line.split(" ", 1) for line in mesh.log_lines("default/web")[:4])
    assert said["beside"] == "done"
    assert "done" not in (said["manifest"], said["rename"], said["remove"])
    assert (mesh.home / "mesh.yaml").read_text() == "mesh: test\n"


def test_no_service_leads_what_another_may_write_astray(mesh: Supervised) -> None:
    for name in ("data", "data/inner", "treasure"):
        mesh.home.joinpath(name).mkdir()
        mesh.home.joinpath(name).chmod(0o777)
    swap = "import os; os.rename('data/inner', 'data/was'); os.symlink(os.getcwd() + '/treasure', 'data/inner'); print('ok')"
    mesh.apply(mesh.pod("default/thief", mesh.python, "-c", swap, writable=["data"]))
    mesh.await_line("default/thief", "ok")

    write = f"{ATTEMPT}\nattempt('treasure', lambda: open('data/inner/x', 'w'))"
    mesh.apply(*mesh.plan.pods, mesh.pod("default/web", mesh.python, "-c", write, writable=["data/inner"]))

    status = mesh.await_status("default/web", lambda s: s.state not in ("waiting", "starting"), "refused or done")
    assert list(mesh.home.joinpath("treasure").iterdir()) == []
    assert status.state == "impossible"
    assert f"data/inner leads through {mesh.home}/data/inner, a link that a service may have made" in status.why


def test_a_link_that_no_service_can_make_may_be_writable(mesh: Supervised) -> None:
    mesh.home.joinpath("data").mkdir()
    mesh.home.joinpath("data").chmod(0o777)
    mesh.home.joinpath("link").symlink_to("data")
    write = f"{ATTEMPT}\nattempt('link', lambda: open('link/x', 'w'))"

    mesh.apply(mesh.pod("default/web", mesh.python, "-c", write, writable=["link"]))

    assert mesh.await_line("default/web", "link") == "link done"


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_tulle_runs_stays_as_it_is_in_a_writable_directory(runner: str) -> None:
    mesh = Supervised(runner)
    mesh.home.chmod(0o777)
    package = mesh.home / "lib" / "tulle"
    shutil.copytree(mesh.directory / "src" / "tulle", package)
    for path in (package.parent, package, package / "supervisor"):
        path.chmod(0o777)
    mesh.wrapper = ["env", f"PYTHONPATH={package.parent}"]
    write = f"""{ATTEMPT}
attempt("beside", lambda: open("y", "w"))
attempt("code", lambda: open("lib/tulle/supervisor/evil.py", "w"))
attempt("rename", lambda: os.rename("lib/tulle/supervisor", "lib/tulle/was"))
attempt("package", lambda: os.rename("lib/tulle", "lib/was"))
attempt("place", lambda: os.rename("lib", "was"))
"""
    with mesh:
        mesh.apply(mesh.pod("default/web", mesh.python, "-c", write, writable=["."]))
        mesh.await_line("default/web", "place")

        said = dict(line.split(" ", 1) for line in mesh.log_lines("default/web")[:5])
        mesh.apply(mesh.pod("default/other", "true", writable=["lib/tulle"]))
        mesh.await_state(
            "default/other", "impossible", f"lib/tulle lies in {package.parent}, from which Tulle itself runs"
        )
    assert said.pop("beside") == "done"
    assert set(said.values()) <= {"Read-only file system", "Device or resource busy"}


def test_a_link_to_the_mesh_file_cannot_be_replaced(mesh: Supervised) -> None:
    mesh.home.joinpath("kept").mkdir()
    mesh.home.joinpath("mesh.yaml").rename(mesh.home / "kept" / "mesh.yaml")
    mesh.home.joinpath("mesh.yaml").symlink_to("kept/mesh.yaml")
    mesh.home.chmod(0o777)

    mesh.apply(mesh.pod("default/web", "true", writable=["."]))

    mesh.await_state(
        "default/web", "impossible", f"{mesh.home}/mesh.yaml is a link on the way to {mesh.home}/mesh.yaml"
    )


def test_an_isolated_pod_is_alone_and_a_plain_one_ends_with_its_children(mesh: Supervised) -> None:
    show = "import os; print('pids', sorted(int(p) for p in os.listdir('/proc') if p.isdigit()), flush=True)"
    mark = {"TULLE_TEST_POD": mesh.directory.name}
    plain = mesh.pod("default/plain", python_for(1), "-c", SPREAD, isolated=False, env=mark, stop_seconds=2.0)
    mesh.apply(mesh.pod("default/web", mesh.python, "-c", show), plain)
    assert len(mesh.await_line("default/web", "pids").split(",")) == 2
    mesh.await_line("default/plain", "up")
    mesh.await_state("default/plain", "ready")

    mesh.apply()

    mesh.await_absence("default/plain")
    mesh.wait_until(lambda: not mesh.marked("TULLE_TEST_POD"), "a descendant is left", within=1)


def test_output_is_stamped_and_rotated(mesh: Supervised) -> None:
    talk = "import sys; [print('line', n, 'x' * 1000) for n in range(9000)]; sys.stderr.write('an end without newline'); sys.stderr.flush(); import time; time.sleep(0.2)"
    mesh.apply(mesh.pod("default/web", mesh.python, "-c", talk))
    mesh.await_state("default/web", "backoff")
    log = mesh.state / "logs" / "default_web.log"
    mesh.wait_until(lambda: log.with_name("default_web.log.2").exists(), "no rotation")
    mesh.apply()  # else it is started again, and files change their names while they are read
    mesh.await_absence("default/web")

    newest = (
        log.with_name("default_web.log.2").read_text() + log.with_name("default_web.log.1").read_text()
    ).splitlines()

    stamps = [line.split(" ", 1)[0] for line in newest]
    assert stamps == sorted(stamps)
    assert all(line.split(" ")[1:3] in (["stdout", "F"], ["stderr", "P"]) for line in newest)
    assert max(one.stat().st_size for one in log.parent.glob("default_web.log*")) <= 4 << 20
    assert log.stat().st_mode & 0o777 == 0o600
    assert not log.with_name("default_web.log.3").exists()


def test_doors_open_on_both_families_and_close_again(mesh: Supervised) -> None:
    port = free_port()
    mesh.apply(doors=[port])
    mesh.await_told("door", str(port))
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, port), 10) as connection:
            assert mesh.ask("accept", name=str(port), reply="in")["at"][1] == port
            assert connection.recv(10) == b"in"

    mesh.apply(doors=[])

    mesh.await_told("gone", str(port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)


def test_a_door_that_is_taken_opens_once_it_is_free(mesh: Supervised) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        mesh.apply(doors=[port])
        mesh.wait_until(lambda: f"cannot open port {port}" in mesh.words(), "no complaint")
        (door,) = mesh.await_report(lambda r: bool(r.doors), "a word about the door").doors
        assert (door.port, door.state, door.why) == (port, "taken", "Address already in use")
        if mesh.uid == os.getuid() == 0:
            assert door.holder.endswith(f"(pid {os.getpid()})")
    mesh.await_told("door", str(port))
    mesh.await_report(lambda r: r.doors == [DoorStatus(port, DoorState.OPEN)], "the door open")


def test_a_second_supervisor_of_the_same_mesh_is_refused(mesh: Supervised) -> None:
    second = subprocess.run(
        [mesh.python, "-m", "tulle.supervisor", "--mesh", "test", "--manifest", "mesh.yaml"],
        env={
            "PYTHONPATH": str(mesh.directory / "src"),
            "TULLE_RUNTIME_DIR": str(mesh.directory / "run"),
            "TULLE_STATE_DIR": str(mesh.directory / "state"),
        },
        user=mesh.uid if mesh.uid != os.getuid() else None,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert second.returncode == 1
    assert f"already run by process {mesh.process.pid}" in second.stderr
