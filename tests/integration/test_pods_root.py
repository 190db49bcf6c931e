"""What only root can have tried: uids of their own for services, another user of the box, a service that `user:` makes root."""

import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.supervised import RUNNERS, Supervised, python_for, supervised
from tulle.wire.plan import Readiness

pytestmark = pytest.mark.skipif("root" not in RUNNERS, reason="only root can be another user")

SECURITY = Path(__file__).parents[2] / "SECURITY.md"
SERVE = "import signal, socket; listener = socket.create_server(('0.0.0.0', 8080)); signal.pause()"
VIRTUAL = "127.80.7.7:4000"
OUTSIDER_UID = 58124
START = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_path(f'{sys.argv[1]}/{sys.argv[2]}', run_name='__main__')"
ATTEMPT = """
import os
def attempt(name, act):
    try: act(); print(name, "done", flush=True)
    except OSError as fault: print(name, fault.strerror, flush=True)
"""


def test_what_is_closed_to_a_plain_service_is_named_with_the_remedy() -> None:
    with supervised("root") as mesh:
        closed = mesh.home / "closed"
        (closed / "bin").mkdir(parents=True)
        program = closed / "bin" / "serve"
        shutil.copy("/bin/sleep", program)
        closed.chmod(0o700)
        path = {"PATH": f"{closed}/bin:/bin"}
        mesh.apply(
            mesh.pod("default/by-path", str(program), "9", isolated=False),
            mesh.pod("default/by-name", "serve", "9", isolated=False, env=path),
            mesh.pod("default/at-home", "sleep", "9", isolated=False, cwd=str(closed / "bin")),
        )

        remedy = f"open it (chmod o+x {closed}), move what is needed elsewhere, or say `user:`"
        for name, cause in (
            ("by-path", f"cannot run {program}: Permission denied; it lies in {closed}, which is closed to uid "),
            ("by-name", "no such program in PATH that is open to uid "),
            ("at-home", f"its working directory lies in {closed}, which is closed to uid "),
        ):
            assert remedy in mesh.await_state(f"default/{name}", "backoff", cause).why


@pytest.mark.parametrize("isolated", [True, False])
def test_a_writable_path_of_another_user_is_refused_with_what_to_do(isolated: bool) -> None:
    with supervised("root") as mesh:
        data = mesh.home / "data"
        data.mkdir(mode=0o755)
        pod = mesh.pod("default/web", "sleep", "9", writable=["data"], isolated=isolated)
        mesh.apply(pod)

        why = mesh.await_state("default/web", "impossible", f"owner: {data} belongs to root (mode 0755) and uid ").why
        assert "chown" in why
        assert data.stat().st_uid == 0

        os.chown(data, int(why.split(" and uid ")[1].split()[0]), -1)
        mesh.apply(pod._replace(stop_seconds=1.0))
        mesh.await_state("default/web", "ready")


def test_a_service_that_is_root_changes_no_setting_of_the_box() -> None:
    settings = ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sys/net/core/somaxconn")
    write = f"""{ATTEMPT}
for name in {settings}:
    same = open(name, "rb").read()
    attempt("setting", lambda: open(name, "r+b", buffering=0).write(same))
"""
    with supervised("root") as mesh:
        mesh.apply(mesh.pod("default/web", mesh.python, "-c", write, user="root"))
        mesh.wait_until(lambda: len(mesh.log_lines("default/web")) >= 3, "tried less")

        assert set(mesh.log_lines("default/web")) == {"setting Read-only file system"}


def test_another_mount_of_the_boxs_processes_is_empty_in_a_pod() -> None:
    mesh = Supervised("root")
    mesh.home.joinpath("a box").mkdir()
    mesh.wrapper = ["unshare", "--mount", "sh", "-c", 'mount -t proc none "$0" && exec "$@"', str(mesh.home / "a box")]
    with mesh:
        look = "import os; print('seen', os.listdir('a box'), flush=True)"
        mesh.apply(mesh.pod("default/web", mesh.python, "-c", look))

        assert mesh.await_line("default/web", "seen") == "seen []"


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("way", ["redirect", "addresses"])
def test_another_user_of_the_box_finds_every_door_as_the_table_says(runner: str, way: str) -> None:
    with supervised(runner, way) as mesh:
        mesh.apply(
            mesh.pod("default/web", mesh.python, "-c", SERVE, readiness=Readiness(8080)), addresses=[VIRTUAL],
            hosts={"default": "127.0.0.1 localhost\n"},
        )  # fmt: skip
        pod = mesh.await_state("default/web", "ready").pid
        targets = {
            "runtime": str(mesh.runtime),
            "state": str(mesh.state),
            "log": str(mesh.state / "logs" / "default_web.log"),
            "admin": str(mesh.runtime / "admin.sock"),
            "lock": str(mesh.runtime / "supervisor.pid"),
            "hosts": str(mesh.runtime / "etc" / "hosts.default"),
            "port": "8080",
            "supervisor": str(mesh.process.pid),
            "stem": str(mesh.stem_pid()),
            "broker": str(mesh.broker_pid()),
            "pod": str(pod),
            "service": Path(f"/proc/{pod}/task/{pod}/children").read_text().split()[0],
        }
        said = subprocess.run(
            [python_for(OUTSIDER_UID), "-I", "-c", START, str(mesh.directory / "support"), "outsider.py"],
            env={"INTRUDER_TARGETS": json.dumps(targets)},
            user=OUTSIDER_UID, group=OUTSIDER_UID, extra_groups=[], cwd="/", capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert mesh.process.poll() is None

    *rows, end = [json.loads(line) for line in said.splitlines()]
    unexpected = [row for row in rows if row["outcome"] not in row["expected"]]
    assert not unexpected, "\n".join(f"{row['what']}: {row['outcome']} {row['words']}" for row in unexpected)
    assert end == {"end": 11 + 5 * 7}
    listed = SECURITY.read_text(encoding="utf-8")
    names = [row["what"].replace(" broker", " supervisor").replace(" stem", " supervisor") for row in rows]
    assert [one for one in names if one not in listed and not one.endswith((" pod", " service"))] == []


@pytest.mark.parametrize("by", ["name", "number"])
def test_a_pod_runs_as_the_user_it_names(by: str) -> None:
    nobody = pwd.getpwnam("nobody")
    uid, gid = nobody.pw_uid, nobody.pw_gid
    show = """
import json, os, pwd
who = os.getresuid(), os.getresgid(), os.getgroups(), os.environ["USER"], os.environ["HOME"], pwd.getpwuid(os.getuid())[0]
facts = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps([*who, facts["CapEff"], facts["CapBnd"], facts["NoNewPrivs"]]))
"""
    with supervised("root") as mesh:
        mesh.apply(mesh.pod("default/web", mesh.python, "-c", show, user="nobody" if by == "name" else str(uid)))

        who = json.loads(mesh.await_line("default/web", "nobody"))

    groups = os.getgrouplist("nobody", gid)
    assert who == [[uid] * 3, [gid] * 3, groups, "nobody", nobody.pw_dir, "nobody", "0" * 16, "0" * 16, "1"]
