"""Installed for good: under a real systemd of the test's own, from `tulle install` to a box on which nothing is left."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.support.own_systemd import SYSTEMD, TULLE, OwnSystemd, own_systemd
from tests.support.processes import eventually, is_running

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="needs root: a systemd of its own"),
    pytest.mark.skipif(not SYSTEMD.exists(), reason="needs systemd (Debian: systemd, dbus, libpam-systemd)"),
]
UNIT = "tulle-hello.service"
MESH = """
mesh: hello
services:
  greeter:
    run: python -m http.server 8000 --directory pages
    port: 8000
    expose: 8088
    allow: [{methods: [GET]}]
"""


@pytest.fixture
def box() -> Iterator[OwnSystemd]:
    with own_systemd() as box:
        yield box


def write_mesh(box: OwnSystemd, home: str = "/srv/hello", text: str = MESH, user: str = "") -> str:
    """The manifest's path, in there."""
    box.run("mkdir", "-p", f"{home}/pages")
    box.path(f"{home}/mesh.yaml").write_text(text)
    box.path(f"{home}/pages/index.html").write_text("good morning\n")
    if user:
        box.run("chown", "-R", f"{user}:{user}", home)
    return f"{home}/mesh.yaml"


def says(box: OwnSystemd, *words: str) -> str:
    return box.run("curl", "-s", "--noproxy", "*", "-m", "5", *words, "http://127.0.0.1:8088/", check=False)


def serves(box: OwnSystemd) -> bool:
    return says(box) == "good morning"


def supervisor(box: OwnSystemd) -> int:
    return int(box.show(UNIT, "MainPID"))


def processes(box: OwnSystemd) -> list[str]:
    """Command lines of all that is Tulle's or a service's."""
    lines = box.run("ps", "-eo", "args").splitlines()
    return [line for line in lines if "/opt/tulle" in line or "http.server" in line]


def test_an_installed_mesh_serves_comes_back_and_leaves_nothing(box: OwnSystemd) -> None:
    manifest = write_mesh(box)
    before = box.files()

    installed = box.tulle("install", manifest)

    assert "mesh `hello` is installed and ready" in installed
    assert (box.show(UNIT, "ActiveState"), box.show(UNIT, "UnitFileState")) == ("active", "enabled")
    assert serves(box)
    assert f"installed as {UNIT}" in box.tulle("status")
    assert "1 of 1 pods ready" in box.show(UNIT, "StatusText")
    assert box.run("stat", "-c", "%a %U", "/etc/tulle/hello/mesh.yaml", "/var/log/tulle/hello") == "600 root\n700 root"

    first = supervisor(box)
    box.run("kill", "-9", str(first))
    second = eventually(lambda: supervisor(box) not in (0, first) and supervisor(box), 30, "another supervisor")
    eventually(lambda: serves(box), 30, "the mesh to serve again")
    assert len([line for line in processes(box) if "http.server" in line]) == 1

    assert "as they shall be" in box.tulle("install", manifest)
    assert supervisor(box) == second

    gone = box.tulle("uninstall")

    assert "mesh `hello` is uninstalled" in gone
    assert box.files() == before
    assert processes(box) == []
    assert box.show(UNIT, "LoadState") == "not-found"
    assert box.tried(TULLE, "uninstall").returncode == 4


def test_a_changed_manifest_is_in_force_without_a_restart(box: OwnSystemd) -> None:
    manifest = write_mesh(box)
    box.tulle("install", manifest)
    pid = supervisor(box)
    write_mesh(box, text=MESH.replace("GET", "POST"))

    box.tulle("install", manifest)

    eventually(lambda: "denied" in says(box, "-D-"), 20, "the new policy in force")
    assert supervisor(box) == pid

    box.run("sed", "-i", "s/POST/GET/", "/etc/tulle/hello/mesh.yaml")

    eventually(lambda: serves(box), 20, "the policy that was edited where it is installed")
    assert "as they shall be" in box.tulle("install", "/etc/tulle/hello")
    assert serves(box)
    assert supervisor(box) == pid


def test_a_mesh_that_was_taken_down_stays_down_until_it_is_started(box: OwnSystemd) -> None:
    box.tulle("install", write_mesh(box))

    assert "starts it at the next boot" in box.tulle("down")

    assert box.show(UNIT, "ActiveState") == "inactive"
    assert "systemctl start tulle-hello.service" in box.tulle("status", check=False)
    box.run("systemctl", "start", UNIT)
    eventually(lambda: serves(box), 30, "the mesh to serve again")


def test_a_supervisor_that_hangs_is_replaced_and_a_drop_in_goes_with_the_unit(box: OwnSystemd) -> None:
    manifest = write_mesh(box)
    before = box.files()
    box.run("mkdir", "-p", f"/etc/systemd/system/{UNIT}.d")
    box.path(f"/etc/systemd/system/{UNIT}.d/hasty.conf").write_text("[Service]\nWatchdogSec=2\n")
    box.tulle("install", manifest)
    first = supervisor(box)

    box.run("kill", "-STOP", str(first))

    eventually(lambda: supervisor(box) not in (0, first), 60, "another supervisor")
    eventually(lambda: serves(box), 30, "the mesh to serve again")
    box.tulle("uninstall")
    assert box.files() == before


def test_a_home_of_any_name_is_where_relative_paths_start(box: OwnSystemd) -> None:
    manifest = write_mesh(box, home='/srv/50% "of" my $HOME\'s; a\\b')

    box.tulle("install", manifest)

    assert serves(box)


def test_revisions_and_logs_are_kept_where_that_is_asked_for(box: OwnSystemd) -> None:
    manifest = write_mesh(box)
    box.tulle("install", manifest)

    box.tulle("uninstall", "--keep-state")

    assert box.path("/var/lib/tulle/hello/tulle.db").exists()
    assert box.path("/var/log/tulle/hello/agent.log").exists()
    assert not box.path("/etc/tulle").exists()
    box.tulle("install", manifest)
    assert "boot" in box.tulle("history")
    box.tulle("uninstall")
    assert not box.path("/var/lib/tulle").exists()


@pytest.mark.parametrize("left", ["unit", "manifests", "state"])
def test_half_an_installation_is_removed_too(box: OwnSystemd, left: str) -> None:
    manifest = write_mesh(box)
    before = box.files()
    if left == "unit":
        box.tulle("install", "--no-start", manifest)
        box.run("rm", "-r", "/etc/tulle")
    else:
        box.run("mkdir", "-p", {"manifests": "/etc/tulle/hello", "state": "/var/lib/tulle/hello"}[left])

    box.run("mkdir", "-p", "/sys/fs/cgroup/tulle/hello.default.page/libpod-1")

    box.tulle("uninstall", "--mesh", "hello")

    assert box.files() == before
    assert not box.path("/sys/fs/cgroup/tulle").exists()


def test_a_dry_run_shows_all_and_writes_nothing(box: OwnSystemd) -> None:
    manifest = write_mesh(box)
    before = box.files()

    shown = box.tulle("install", "--dry-run", manifest)

    assert "# write: /etc/tulle/hello/mesh.yaml" in shown
    assert "ExecStart=/opt/tulle/bin/python -P -m tulle.supervisor" in shown
    assert shown.splitlines()[-1] == f"# run: systemctl start {UNIT}"
    assert box.files() == before
    box.tulle("install", manifest)
    listed = box.tulle("uninstall", "--dry-run").splitlines()
    assert {"/etc/tulle/hello", f"/etc/systemd/system/{UNIT}", "/var/lib/tulle/hello", "/var/log/tulle/hello"} <= set(
        listed
    )
    assert serves(box)


def test_root_runs_no_program_that_another_may_write(box: OwnSystemd) -> None:
    manifest = write_mesh(box)
    box.run("sh", "-c", "chown 61234 /opt/tulle/lib/python3*/site-packages/tulle/supervisor/loop.py")

    refused = box.tried(TULLE, "install", manifest)

    assert refused.returncode == 1
    assert "error[foreign-program]" in refused.stdout
    assert "tulle/supervisor/loop.py belongs to uid 61234" in refused.stdout
    assert not box.path("/etc/tulle").exists()


def test_without_systemd_it_is_refused_and_can_be_prepared(box: OwnSystemd) -> None:
    manifest = write_mesh(box)
    alone = f'mount -t tmpfs tmpfs /run && exec {TULLE} "$@"'

    refused = box.tried("unshare", "--mount", "sh", "-c", alone, "-", "install", manifest)

    assert refused.returncode == 1
    assert "error[no-systemd]" in refused.stdout
    box.run("unshare", "--mount", "sh", "-c", alone, "-", "install", "--no-start", manifest)
    assert box.path(f"/etc/systemd/system/multi-user.target.wants/{UNIT}").is_symlink()


def test_a_mesh_that_was_started_by_hand_is_not_taken_over(box: OwnSystemd) -> None:
    manifest = write_mesh(box)
    box.tulle("up", "--detach", manifest)

    for verb in (("install", manifest), ("uninstall", "--mesh", "hello")):
        refused = box.tried(TULLE, *verb)
        assert refused.returncode == 1
        assert "error[already-running]" in refused.stdout
    assert serves(box)


def test_the_state_of_a_newer_tulle_is_refused_before_anything_is_written(box: OwnSystemd) -> None:
    manifest = write_mesh(box)
    box.run("mkdir", "-p", "-m", "700", "/var/lib/tulle/hello")
    script = "import sqlite3; sqlite3.connect('/var/lib/tulle/hello/tulle.db').execute('PRAGMA user_version = 99')"
    box.run("/opt/tulle/bin/python", "-c", script)

    for verb in ("install", "up"):
        refused = box.tried(TULLE, verb, manifest)
        assert refused.returncode == 1
        assert "error[newer-state]" in refused.stdout
    assert not box.path("/etc/tulle").exists()


@pytest.mark.skipif(
    not (shutil.which("podman") and shutil.which("busybox")), reason="needs podman and busybox (Debian: busybox-static)"
)
def test_a_container_runs_under_the_unit_with_everything_where_it_belongs(box: OwnSystemd) -> None:
    box.run("sh", "-c", "mkdir -p /srv/hello/image && cp $(command -v busybox) /srv/hello/image/busybox")
    box.path("/srv/hello/image/Containerfile").write_text("FROM scratch\nCOPY busybox /bin/busybox\n")
    box.run("podman", "build", "--quiet", "--tag", "localhost/box", "/srv/hello/image")
    run = 'container: {image: localhost/box, command: [/bin/busybox, httpd, -f, -p, "8000", -h, /www], mounts: ["./pages:/www:ro"]}'
    manifest = write_mesh(box, text=MESH.replace("run: python -m http.server 8000 --directory pages", run))
    before = box.files()

    box.tulle("install", manifest)

    assert serves(box)
    box.tulle("uninstall")
    eventually(lambda: "conmon" not in box.run("ps", "-eo", "args"), 20, "the end of the container")
    assert {path for path in box.files() if "/tulle" in path} == {path for path in before if "/tulle" in path}


CALLER = "  caller: {attach: {systemd: caller.service}, calls: [greeter]}\n"
ATTACHED = MESH.replace("    expose: 8088\n", "").replace("{methods", "{from: [caller], methods") + CALLER
DIAL = "curl -s -o /dev/null -w '%%{http_code}\\n' -m 3 -x http://127.0.0.1:15001 http://greeter/"


def write_callers(box: OwnSystemd, units: str, heard: str, more: str = "") -> None:
    """Two units of one program that calls again and again: `caller`, `stranger`. What each is answered is in `heard`."""
    for name in ("caller", "stranger"):
        box.path(f"{units}/{name}.service").write_text(
            f'[Service]\n{more}StandardOutput=append:{heard}/{name}\nExecStart=/bin/sh -c "while {DIAL}; do sleep 0.2; done"\nRestart=always\n'
        )


def answered(box: OwnSystemd, heard: str) -> list[str]:
    """The status of each call of such a unit; none before its first."""
    path = box.path(heard)
    return path.read_text().split() if path.exists() else []


def are_told_apart(box: OwnSystemd, heard: str, systemctl: Callable[..., object]) -> None:
    """The mesh knows one of them, also when it was started anew."""

    def answers(name: str) -> list[str]:
        return answered(box, f"{heard}/{name}")

    systemctl("start", "caller", "stranger")
    eventually(lambda: "200" in answers("caller"), 20, "the caller let in")
    eventually(lambda: "403" in answers("stranger"), 20, "the stranger refused")
    systemctl("stop", "caller")
    before = len(answers("caller"))
    systemctl("start", "caller")
    eventually(lambda: "200" in answers("caller")[before:], 20, "the caller let in again")
    refused = len(answers("stranger"))
    eventually(lambda: len(answers("stranger")) > refused, 20, "the stranger answered again")
    assert set(answers("stranger")) == {"403"}


def test_units_of_the_box_are_told_apart_by_systemds_own_word(box: OwnSystemd) -> None:
    """One user, one program, two units."""
    manifest = write_mesh(box, text=ATTACHED)
    write_callers(box, "/etc/systemd/system", "/var/log", "User=nobody\n")
    box.run("systemctl", "daemon-reload")
    box.tulle("install", manifest)

    are_told_apart(box, "/var/log", lambda *words: box.run("systemctl", *words))


def test_where_ordinary_users_are_restricted_root_adds_a_profile_and_takes_it_off_again(box: OwnSystemd) -> None:
    """The switch is shown as Ubuntu's kernel shows it; this one may know no AppArmor, which is said and ends nothing."""
    manifest = write_mesh(box)
    box.run("sh", "-c", "mkdir -p /etc/apparmor.d && mount -t tmpfs tmpfs /proc/sys/kernel")
    box.path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").write_text("1\n")
    profile = "/etc/apparmor.d/tulle.opt.tulle.bin.tulle"

    said = box.tulle("install", manifest)

    assert f"wrote {profile}" in said
    assert '"/opt/tulle/bin/tulle" flags=(unconfined)' in box.path(profile).read_text()
    assert serves(box)
    assert f"removed {profile}" in box.tulle("uninstall")
    assert not box.path(profile).exists()


def test_the_agent_ends_with_words_rather_than_forget_what_a_newer_tulle_applied(box: OwnSystemd) -> None:
    manifest = write_mesh(box)
    box.tulle("install", manifest)
    box.tulle("down")
    script = "import sqlite3; sqlite3.connect('/var/lib/tulle/hello/tulle.db').execute('PRAGMA user_version = 99')"
    box.run("/opt/tulle/bin/python", "-c", script)

    box.run("systemctl", "start", "--no-block", UNIT)

    def words() -> str:
        return box.path("/var/log/tulle/hello/agent.log").read_text()

    eventually(lambda: "was written by a newer Tulle (version 99" in words(), 30, "the agent's words")
    assert not serves(box)
    assert "version 99" in box.tried(TULLE, "install", manifest).stdout


class Eve:
    """An ordinary user of that box, with a systemd of her own."""

    UID = "61234"

    def __init__(self, box: OwnSystemd, *, lingers: bool) -> None:
        self.box = box
        box.run("useradd", "--create-home", "--uid", self.UID, "eve")
        box.run("systemctl", "start", "dbus.socket", "systemd-logind.service")
        if lingers:
            box.run("loginctl", "enable-linger", "eve")
        else:
            box.run("systemctl", "start", f"user@{self.UID}.service")
        eventually(lambda: self.run("systemctl", "--user", "is-system-running") == "running", 30, "eve's systemd")

    def run(self, *words: str) -> str:
        home = {"XDG_RUNTIME_DIR": f"/run/user/{self.UID}", "HOME": "/home/eve", "PATH": "/opt/tulle/bin:/usr/bin:/bin"}
        return self.box.run(*words, user=self.UID, env=home, check=False)


@pytest.fixture
def logins() -> Iterator[OwnSystemd]:
    with own_systemd(logins=True) as box:
        yield box


def test_a_user_installs_without_root_and_leaves_nothing(logins: OwnSystemd) -> None:
    eve = Eve(logins, lingers=True)
    manifest = write_mesh(logins, home="/home/eve/hello", user=Eve.UID)
    before = logins.files()

    assert "is installed and ready" in eve.run("tulle", "install", manifest)

    assert serves(logins)
    assert f"installed as {UNIT}" in eve.run("tulle", "status")
    first = int(eve.run("systemctl", "--user", "show", "--property", "MainPID", "--value", UNIT))
    logins.run("kill", "-9", str(first))
    show = ("systemctl", "--user", "show", "--property", "MainPID", "--value", UNIT)
    eventually(lambda: int(eve.run(*show)) not in (0, first), 30, "another supervisor")
    eventually(lambda: serves(logins), 30, "the mesh to serve again")
    assert "is uninstalled" in eve.run("tulle", "uninstall")
    base = {"/home/eve/.config", "/home/eve/.local", "/home/eve/.local/state"}
    assert logins.files() - base == before
    assert not logins.path(f"/run/user/{Eve.UID}/tulle").exists()
    assert processes(logins) == []
    assert logins.path("/var/lib/systemd/linger/eve").exists()


def test_units_of_a_user_are_told_apart_in_her_mesh_and_from_the_systems_of_that_name(logins: OwnSystemd) -> None:
    eve = Eve(logins, lingers=True)
    manifest = write_mesh(logins, home="/home/eve/hello", text=ATTACHED, user=Eve.UID)
    units, heard = "/home/eve/.config/systemd/user", "/home/eve/heard"
    logins.run("mkdir", "-p", units, heard)
    write_callers(logins, units, heard)
    logins.run("chown", "-R", f"{Eve.UID}:{Eve.UID}", "/home/eve/.config", heard)
    eve.run("systemctl", "--user", "daemon-reload")
    assert "is installed and ready" in eve.run("tulle", "install", manifest)

    are_told_apart(logins, heard, lambda *words: eve.run("systemctl", "--user", *words))

    status = eve.run("tulle", "status")
    assert re.search(r"^default/caller +recognised ", status, re.MULTILINE), status
    write_callers(logins, "/etc/systemd/system", "/var/log", f"User={Eve.UID}\n")
    logins.run("systemctl", "daemon-reload")
    logins.run("systemctl", "start", "caller")
    eventually(lambda: answered(logins, "/var/log/caller"), 20, "the system's unit answered")
    assert set(answered(logins, "/var/log/caller")) == {"403"}


def test_a_user_who_may_not_linger_hears_what_that_means(logins: OwnSystemd) -> None:
    eve = Eve(logins, lingers=False)
    manifest = write_mesh(logins, home="/home/eve/hello", user=Eve.UID)

    said = eve.run("tulle", "install", manifest)

    assert "the mesh runs while you are logged in" in said
    assert "loginctl enable-linger eve" in said
    assert serves(logins)


def test_a_user_without_a_systemd_of_her_own_hears_what_to_do(box: OwnSystemd) -> None:
    manifest = write_mesh(box)

    refused = box.tried(TULLE, "install", manifest, user="61234", env={"HOME": "/tmp"})

    assert refused.returncode == 1
    assert "error[no-systemd]" in refused.stdout
    assert "XDG_RUNTIME_DIR" in refused.stdout


def test_nothing_of_the_test_systemd_is_left() -> None:
    with own_systemd() as box:
        pid = box.pid

    eventually(lambda: not is_running(pid), 10, "the end of its process 1")
    mounts = subprocess.run(["mount"], capture_output=True, text=True, check=True).stdout
    assert "tulle-systemd-" not in mounts
