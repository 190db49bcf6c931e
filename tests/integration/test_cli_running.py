"""The command line over a real mesh: every verb that asks, changes or follows one."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest

from tests.support.processes import eventually
from tests.support.running import TULLE, Door, Running, peer, running
from tools.ports import free_port
from tulle.http.client import ResponseError
from tulle.proxy.tap import MAX_LISTENERS
from tulle.wire.status import RevisionLine

DOOR, BRIEF_DOOR = free_port(), free_port()
MESH = f"""
mesh: asked
services:
  web: {{run: {peer("web")}, port: 8080, allow: [{{}}]}}
  caller: {{run: {peer("caller")}, port: 8080, expose: {DOOR}, allow: [{{}}], calls: [web]}}
  shut: {{run: {peer("shut")}, port: 8080}}
"""
WITHOUT_SHUT = MESH[: MESH.index("  shut:")]
BROKEN = MESH.replace("port: 8080", "prot: 8080", 1)


@pytest.fixture(scope="module")
def mesh() -> Iterator[Running]:
    with running("asked", MESH) as one:
        yield one


def history(mesh: Running) -> list[RevisionLine]:
    return msgspec.json.decode(mesh.tulle("history", "--json").stdout, type=list[RevisionLine])


def applied(mesh: Running, text: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    file = mesh.manifest.with_name("elsewhere.txt")
    file.write_text(text)
    return mesh.tulle("apply", "-f", str(file), *words, check=check)


class Begun:
    """A command that goes on."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def interrupt(self) -> int:
        """Ctrl-C; what it ends with."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(20)

    def exit_code(self) -> int:
        return self._process.wait(20)

    def said(self) -> str:
        return self._output.read_text()


@contextmanager
def begun(mesh: Running, *words: str) -> Iterator[Begun]:
    output = mesh.manifest.with_name(f"{words[0]}.out")
    with output.open("wb") as stdout:
        process = subprocess.Popen([str(TULLE), *words], env=mesh.environment, stdout=stdout, stderr=stdout)
    try:
        yield Begun(process, output)
    finally:
        process.kill()
        process.wait()


def test_status_is_ready_and_names_doors_and_pods(mesh: Running) -> None:
    shown = mesh.tulle("status").stdout

    assert "asked (ready)" in shown
    assert f":{DOOR} → default/caller (open)" in shown
    assert re.search(r"default/web +ready", shown)


def test_get_prints_each_kind(mesh: Running) -> None:
    assert "default/web" in mesh.tulle("get", "services").stdout
    assert "asked.local/ns/default/sa/web" in mesh.tulle("get", "workloads").stdout
    assert "default/web:8080" in mesh.tulle("get", "routes").stdout
    assert "tulle-system/allow-nothing" in mesh.tulle("get", "policies").stdout
    assert "kind: AuthorizationPolicy" in mesh.tulle("get", "resources").stdout
    assert json.loads(mesh.tulle("get", "snapshot").stdout)["mesh"] == "asked"
    address, *names = next(line for line in mesh.tulle("get", "hosts").stdout.splitlines() if " web " in line).split()
    assert address.startswith("127.80.")
    assert names == ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local"]
    for what in ("services", "workloads", "routes", "policies", "resources"):
        assert json.loads(mesh.tulle("get", what, "--json").stdout)


def test_why_says_what_the_proxy_does(mesh: Running) -> None:
    assert mesh.tulle("why", "caller", "web").returncode == 0
    assert "`calls` of default/caller" in mesh.tulle("why", "caller", "shut", check=False).stdout
    assert mesh.tulle("why", "web", "shut", check=False).returncode == 1


def test_why_explains_a_request_that_was_refused(mesh: Running) -> None:
    assert Door(DOOR).call("http://shut:8080/secret")["status"] == 403
    refusal = json.loads(mesh.ask_agent("/refusals"))[-1]

    then = mesh.tulle("why", refusal["id"], check=False)

    assert then.returncode == 1
    assert then.stdout.startswith("calls-denied: the caller's `calls` does not name this service\n")
    assert "default/caller → default/shut:8080, GET /secret\n" in then.stdout
    assert "ALLOW tulle-system/allow-nothing: no rule, matches nothing" in then.stdout
    document = json.loads(mesh.tulle("why", refusal["id"], "--json", check=False).stdout)
    assert document["refusal"] == refusal
    assert document["now"]["calls_hold"] is False
    applied(mesh, MESH.replace("calls: [web]", "calls: [web, shut]"))
    now = mesh.tulle("why", refusal["id"], check=False).stdout
    assert "the mesh has changed since" in now
    assert "denied: no policy allows it" in now
    mesh.apply(MESH + "\n")
    unheard = mesh.tulle("why", "unheard", check=False)
    assert (unheard.returncode, unheard.stdout) == (2, "")
    assert unheard.stderr.startswith("error[unknown-request]")


def test_why_says_how_the_endpoints_are_that_a_request_could_not_reach(mesh: Running) -> None:
    late = "  late: {run: sleep 1000, port: 8080, allow: [{}]}\n"
    applied(mesh, MESH.replace("calls: [web]", "calls: [web, late]") + late)
    eventually(
        lambda: Door(DOOR).call("http://late:8080/").get("status") == 503, 20, "no answer of a service that is late"
    )
    eventually(lambda: "port 8080" in why_not_ready(mesh, "default/late"), 20, "it is known what it waits for")
    refusal = json.loads(mesh.ask_agent("/refusals"))[-1]
    assert (refusal["reason"], refusal["policy"]) == ("no-healthy-endpoint", "default/late-allow")

    said = mesh.tulle("why", refusal["id"], check=False).stdout

    assert said.startswith("no-healthy-endpoint: no endpoint of the backend is ready\n")
    assert "denied" not in said
    assert "now: default/late:8080 is starting (waits for port 8080); `tulle logs default/late` has its words\n" in said
    applied(mesh, MESH)


def why_not_ready(mesh: Running, pod: str) -> str:
    """Empty also while nothing is known of the pod."""
    return next((one.why for one in mesh.status().pods if one.name == pod), "")


def test_second_up_of_the_same_mesh_is_refused(mesh: Running) -> None:
    again = mesh.tulle("up", str(mesh.manifest), check=False)

    assert again.returncode == 1
    assert again.stderr.startswith("error[already-running]")


def test_dry_run_shows_the_diff_and_changes_nothing(mesh: Running) -> None:
    before = mesh.status().generation
    shown = applied(mesh, WITHOUT_SHUT, "--dry-run")

    assert "- service default/shut" in shown.stdout
    assert "- pod default/shut" in shown.stdout
    assert "dry run" in shown.stderr
    assert mesh.status().generation == before


def test_apply_then_rollback_are_two_new_revisions(mesh: Running) -> None:
    first = mesh.status().generation
    assert f"generation {first + 1} is in force" in applied(mesh, WITHOUT_SHUT, "--why", "less").stderr
    assert mesh.status().proxy.generation == first + 1

    back = mesh.tulle("rollback", str(first))

    assert "+ service default/shut" in back.stdout
    newest, less, *_ = history(mesh)
    assert (newest.number, newest.state, newest.why) == (first + 2, "in-force", f"rollback to {first}")
    assert (less.number, less.why) == (first + 1, "less")
    assert less.author.startswith(f"uid {os.getuid()}")


def test_apply_of_the_same_is_nothing_and_of_problems_is_refused(mesh: Running) -> None:
    before = mesh.status().generation

    assert "nothing changes" in applied(mesh, MESH).stderr
    refused = applied(mesh, BROKEN, check=False)
    assert refused.returncode == 3
    assert "error[unknown-field]" in refused.stderr
    assert mesh.status().generation == before


def test_watched_manifest_is_followed_and_its_problems_change_nothing(mesh: Running) -> None:
    before = mesh.status().generation
    mesh.write(BROKEN)
    eventually(lambda: bool(mesh.status().problems), 10, "the problems of the manifest")
    assert mesh.status().generation == before
    assert "error[unknown-field]" in mesh.tulle("status").stderr
    mesh.apply(WITHOUT_SHUT)
    assert mesh.status().problems == ()
    mesh.apply(MESH)


def test_killed_agent_comes_back_to_the_same_generation(mesh: Running) -> None:
    applied(mesh, WITHOUT_SHUT)
    before = mesh.status()
    os.kill(before.agent_pid, signal.SIGKILL)

    def is_back() -> bool:
        try:
            return mesh.status().agent_pid != before.agent_pid
        except (OSError, ResponseError):
            return False

    eventually(is_back, 10, "another agent")
    assert mesh.status().generation == before.generation
    mesh.tulle("rollback", str(before.generation - 1))


def test_top_and_tap_show_a_call(mesh: Running) -> None:
    door = Door(DOOR)
    with (
        begun(mesh, "tap", "--json", "-n", "1") as tap,
        begun(mesh, "top", "--once", "--json", "--interval", "1") as top,
    ):

        def have_ended() -> bool:
            door.call("http://web:8080/")
            return tap.has_ended() and top.has_ended()

        eventually(have_ended, 20, "a tapped request and an interval of top")
        assert json.loads(tap.said())["destination"].startswith("default/")
        assert ("default/caller", "default/web") in {
            (row["source"], row["destination"]) for row in json.loads(top.said())
        }


def test_logs_are_one_stream_by_time_and_can_be_followed(mesh: Running) -> None:
    lines = [json.loads(line) for line in mesh.tulle("logs", "--all", "--json").stdout.splitlines()]

    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert {"agent", "supervisor"} <= {line["source"] for line in lines}
    with begun(mesh, "logs", "-f", "-n", "0", "agent") as follower:
        number = iter(range(10**6))

        def is_heard() -> bool:
            mesh.write(BROKEN.replace("prot:", f"prot{next(number)}:"))
            return "unknown-field" in follower.said()

        eventually(is_heard, 20, "a new line", every=0.3)
    mesh.write(MESH)


def test_apis_socket_is_for_its_owner_only(mesh: Running) -> None:
    path = Path(mesh.environment["TULLE_RUNTIME_DIR"]) / "asked" / "agent.sock"

    assert path.stat().st_mode & 0o777 == 0o600


def test_apply_of_a_taken_port_is_in_force_with_a_warning_until_the_port_is_free(mesh: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        file = "elsewhere.txt"
        done = applied(mesh, MESH.replace(str(DOOR), str(port)))

        line = MESH[: MESH.index("expose")].count("\n") + 1
        assert f"warning[door-taken]: port {port} of the box cannot be opened: Address already in use" in done.stderr
        assert re.search(rf"--> .*{file}:{line}\n", done.stderr)
        assert "is in force" in done.stderr
        status = mesh.tulle("status", check=False)
        assert status.returncode == 1
        assert f":{port} → default/caller (taken: Address already in use, " in status.stdout
        assert f"(pid {os.getpid()}) has it" in status.stdout
        assert f"waits for port {port} (taken" in status.stderr
        (door,) = json.loads(mesh.tulle("status", "--json", check=False).stdout)["doors"]
        assert (door["state"], door["why"]) == ("taken", "Address already in use")
    eventually(lambda: mesh.status().ready, 10, "ready once the port is free")
    assert Door(port).ask("/")["name"] == "caller"
    applied(mesh, MESH)


@pytest.mark.parametrize("words", [("up",), ("up", "--detach")])
def test_up_refuses_a_taken_port_at_its_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    manifest = tmp_path / "mesh.yaml"
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        manifest.write_text(
            f"mesh: squatted\nservices:\n  web:\n    run: /bin/true\n    port: 80\n    expose: {port}\n    allow: [{{}}]\n"
        )

        refused = Running("squatted", manifest, tmp_path).tulle(*words, str(manifest), check=False)

    assert refused.returncode == 1
    assert f"error[door-taken]: port {port} of the box cannot be opened: Address already in use" in refused.stderr
    assert f"(pid {os.getpid()}) has it" in refused.stderr
    assert f"--> {manifest}:6\nhint: " in refused.stderr
    assert not (tmp_path / "run").exists()


def test_metrics_that_had_to_move_are_shown(mesh: Running) -> None:
    shown = mesh.tulle("status").stdout
    metrics = mesh.status().metrics

    assert f"metrics     http://{metrics.address}/metrics" in shown
    with urlopen(f"http://{metrics.address}/metrics", timeout=10) as answer:
        assert b"tulle_requests_total" in answer.read()
    if not metrics.address.endswith(":15020"):
        assert "port 15020: Address already in use" in metrics.why


def test_a_question_waits_for_an_agent_that_is_just_being_started_again(mesh: Running) -> None:
    before = mesh.status()

    os.kill(before.agent_pid, signal.SIGKILL)

    assert "asked (ready)" in mesh.tulle("status", "--wait", "20").stdout
    assert mesh.status().agent_pid != before.agent_pid


def test_waiting_for_ready_outlives_the_agent_that_was_asked(mesh: Running) -> None:
    agent = Path(mesh.environment["TULLE_RUNTIME_DIR"]) / "asked" / "agent.sock"

    def is_asked() -> bool:
        """Whether the agent holds a connection, accepted and open."""
        table = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
        return any(row[5] == "03" and row[7:] == [str(agent)] for row in table)

    with socket.create_server(("127.0.0.1", 0)) as squatter:
        applied(mesh, MESH.replace(str(DOOR), str(squatter.getsockname()[1])))
        before = mesh.status().agent_pid
        with begun(mesh, "status", "--wait", "30") as asking:
            eventually(is_asked, 10, "the agent is asked")
            os.kill(before, signal.SIGKILL)
            eventually(lambda: agent_pid(mesh) not in (0, before) and is_asked(), 10, "the next one is asked")
            assert not asking.has_ended(), asking.said()
            squatter.close()
            assert (asking.exit_code(), "asked (ready)" in asking.said()) == (0, True), asking.said()
    applied(mesh, MESH)


def agent_pid(mesh: Running) -> int:
    """0 while there is none."""
    try:
        return mesh.processes.pid("agent")
    except LookupError:
        return 0


@pytest.mark.parametrize("words", [("logs", "-f", "supervisor"), ("tap",)])
def test_an_interrupted_command_says_so_and_exits_with_130(mesh: Running, words: tuple[str, ...]) -> None:
    with begun(mesh, *words) as following:

        def is_following() -> bool:
            Door(DOOR).call("http://web:8080/")
            return bool(following.said())

        eventually(is_following, 20, "its first lines")

        assert following.interrupt() == 130
        assert following.said().endswith("interrupted\n")
        assert "Traceback" not in following.said()


@pytest.mark.parametrize("role", ["proxy", "agent"])
def test_an_open_tap_says_that_its_source_has_ended_and_goes_on_with_the_next(mesh: Running, role: str) -> None:
    with begun(mesh, "tap") as tap:

        def shows(more_than: int) -> bool:
            Door(DOOR).call("http://web:8080/")
            return tap.said().count("default/caller → default/web") > more_than

        eventually(lambda: shows(0), 20, "a first line")
        os.kill(mesh.processes.pid(role), signal.SIGKILL)
        eventually(lambda: "has ended; waiting for the next" in tap.said(), 20, "word of the end")
        eventually(lambda: "it is back" in tap.said(), 20, "word of the return")
        before = tap.said().count("default/caller → default/web")
        eventually(lambda: shows(before), 20, "a line of the next one")

        assert not tap.has_ended()
        assert tap.interrupt() == 130
    eventually(lambda: mesh.status().ready, 20, "ready again")


def test_one_tap_too_many_is_told_so(mesh: Running) -> None:
    admin = Path(mesh.environment["TULLE_RUNTIME_DIR"]) / "asked" / "admin.sock"
    with ExitStack() as taps:
        for _ in range(MAX_LISTENERS):
            tap = taps.enter_context(socket.socket(socket.AF_UNIX))
            tap.settimeout(20)
            tap.connect(str(admin))
            tap.sendall(b"GET /tap HTTP/1.1\r\nhost: tulle\r\n\r\n")
            assert tap.recv(4096).startswith(b"HTTP/1.1 200 ")
        refused = mesh.tulle("tap", "-n", "1", check=False)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"error[refused]: {MAX_LISTENERS} listen already; end one of them first\n"


def test_of_two_ups_at_once_one_is_refused() -> None:
    with running("brief", MESH.replace("asked", "brief").replace(str(DOOR), str(BRIEF_DOOR))) as one:
        one.down()
        command = [str(TULLE), "up", "--detach", str(one.manifest)]
        both = [subprocess.Popen(command, env=one.environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        said = [each.communicate(timeout=60)[1] for each in both]

        assert sorted(each.returncode for each in both) == [0, 1], said
        refused = next(text for each, text in zip(both, said, strict=True) if each.returncode)
        assert refused.startswith(("error[already-running]", "error[door-taken]"))
        assert one.status().ready


def test_down_ends_it_and_an_open_tap_and_its_logs_stay() -> None:
    with (
        running("brief", MESH.replace("asked", "brief").replace(str(DOOR), str(BRIEF_DOOR))) as one,
        begun(one, "tap") as tap,
    ):
        eventually(lambda: bool(Door(BRIEF_DOOR).call("http://web:8080/") and tap.said()), 20, "a first line")
        assert "has ended" in one.tulle("down").stderr
        assert tap.exit_code() == 0
        assert tap.said().endswith("tap: mesh `brief` has ended\n")
        assert one.tulle("status", check=False).returncode == 4
        assert one.tulle("logs", "--mesh", "brief", "supervisor").stdout
