"""A systemd of the test's own, as process 1 of private namespaces. As root only.

Everything it and its units write lands in memory: its root is an overlay over the box's, with /run, /tmp, /var/tmp and
/var/log of its own, a /dev of its own, and /proc/sys read-only while it boots. None of the box's units is there: those would clean
/tmp, set kernel settings and start services. An installed Tulle lies in /opt/tulle, as a package would put it.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from tests.support.processes import eventually
from tools.footprint import children, name_of

SYSTEMD = Path("/lib/systemd/systemd")
TULLE = "/opt/tulle/bin/tulle"
LIMIT_SECONDS = 60.0

_TARGETS = ("sysinit", "basic", "multi-user", "shutdown")
_LOGINS = ("dbus.socket", "dbus.service", "systemd-logind.service", "user@.service", "user-runtime-dir@.service")
"""What brings users their own systemd, as the box has it."""
_WRITTEN = ("/.written", "/run", "/tmp", "/var/tmp", "/var/log", "/dev/shm")
_OWN = re.compile(
    r"/run/(systemd|credentials|mount|lock|initctl|log|user)\b|/var/lib/systemd(/(?!linger/)|$)|/opt/tulle\b"
)
_STAGE = """\
set -eu
scratch=$1 packages=$2 python=$3
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
root=$scratch/root
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do : >"$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for place in dev/shm run tmp var/tmp var/log var/lib/containers; do
    mkdir -p "$root/$place"
    case $place in run|var/l*) mode=0755;; *) mode=1777;; esac
    mount -t tmpfs -o "mode=$mode" tmpfs "$root/$place"
done
rm -rf "$root/etc/systemd/system" "$root/opt/tulle" "$root/etc/tulle" "$root/var/lib/tulle" "$root/var/lib/systemd/linger"
mkdir -p "$root/etc/systemd/system" "$root/opt/tulle" "$root/old" "$root/.written"
mount --bind "$scratch/upper" "$root/.written"
cp "$packages"/units/* "$root/etc/systemd/system/"
"$python" -m venv --without-pip "$root/opt/tulle"
cp -R "$packages"/site/. "$root"/opt/tulle/lib/python3*/site-packages/
printf '#!/opt/tulle/bin/python\\nfrom tulle.cli.main import main\\nmain()\\n' >"$root/opt/tulle/bin/tulle"
chmod 755 "$root/opt/tulle/bin/tulle"
ip link set lo up
cd "$root"
pivot_root . old
umount -l old
rmdir old
exec env -i container=tulle-test "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" LANG=C.UTF-8 \\
    SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/systemd/system \\
    {systemd} --system --unit=multi-user.target --log-target=console --show-status=no
"""


class OwnSystemd:
    """A running one. Programs are run beside it, files are seen as it sees them."""

    def __init__(self, pid: int, output: Path) -> None:
        self.pid = pid
        self._output = output

    def run(self, *words: str, check: bool = True, user: str = "", env: dict[str, str] | None = None) -> str:
        """Standard output and error of a program in there."""
        done = self.tried(*words, user=user, env=env)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)} exited with {done.returncode}:\n{done.stdout}{self.said}")
        return done.stdout.strip()

    def tried(
        self, *words: str, user: str = "", env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """A program that may fail."""
        plain = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
        }
        become = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups") if user else ()
        return subprocess.run(
            ["nsenter", f"--target={self.pid}", "--all", "--root", "--wd", *become, *words],
            env={**plain, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=LIMIT_SECONDS, check=False,
        )  # fmt: skip

    def tulle(self, *words: str, check: bool = True) -> str:
        """A command line of the installed Tulle."""
        return self.run(TULLE, *words, check=check)

    def path(self, path: str) -> Path:
        """What lies there, from outside."""
        return Path(f"/proc/{self.pid}/root{path}")

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit)

    def files(self) -> set[str]:
        """All files and directories that were written, but for what systemd keeps of its own and what Python compiled."""
        words = ("find", *_WRITTEN, "-mindepth", "1", "-not", "-path", "*/__pycache__*", "-print")
        found = self.run(*words, check=False).splitlines()
        written = {path.removeprefix("/.written") for path in found}
        return {path for path in written if not _OWN.match(path)}

    @property
    def said(self) -> str:
        """What systemd and its units have said."""
        return self._output.read_text(errors="replace")


@contextmanager
def own_systemd(*, logins: bool = False) -> Iterator[OwnSystemd]:
    """From boot to end; nothing is left of it. With `logins`, users may linger and have a systemd of their own."""
    group = _cgroup()
    with tempfile.TemporaryDirectory(prefix="tulle-systemd-") as scratch:
        packages = Path(scratch) / "packages"
        _gather(packages, _LOGINS if logins else ())
        (Path(scratch) / "stage.sh").write_text(_STAGE.format(systemd=SYSTEMD))
        (Path(scratch) / "mnt").mkdir()
        output = Path(scratch) / "output"
        words = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child", "--mount-proc",
                 "sh", f"{scratch}/stage.sh", f"{scratch}/mnt", str(packages), _interpreter()]  # fmt: skip
        enter = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
        with output.open("wb") as file:
            started = subprocess.Popen(
                ["sh", "-c", enter, str(group), *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            eventually(
                lambda: started.poll() is not None or _systemd_of(started.pid), LIMIT_SECONDS, "systemd as process 1"
            )
            if started.poll() is not None:
                raise AssertionError(f"systemd did not start:\n{output.read_text(errors='replace')}")
            box = OwnSystemd(_systemd_of(started.pid), output)
            eventually(
                lambda: box.run("systemctl", "is-system-running", check=False) == "running",
                LIMIT_SECONDS,
                "a running systemd",
            )
            box.run(
                "umount", "/proc/sys"
            )  # no process 1 changes the box's settings now; pods open low ports of their own there
            yield box
        finally:
            if started.poll() is None:
                started.send_signal(signal.SIGKILL)
            started.wait()
            _end(group)


def _systemd_of(unshare: int) -> int:
    for pid in children(unshare):
        if name_of(pid) == "systemd":
            return pid
    return 0


def _cgroup() -> Path:
    root = Path("/sys/fs/cgroup/unified")
    group = (root if root.is_dir() else Path("/sys/fs/cgroup")) / f"tulle-test-{os.getpid()}"
    group.mkdir()
    return group


def _end(group: Path) -> None:
    (group / "cgroup.kill").write_text("1")
    for path in sorted((one for one in group.rglob("*") if one.is_dir()), key=lambda one: -len(one.parts)):
        eventually(lambda path=path: _removed(path), LIMIT_SECONDS, f"the end of {path}")  # type: ignore[misc]
    eventually(lambda: _removed(group), LIMIT_SECONDS, f"the end of {group}")


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def _gather(into: Path, units: Iterable[str]) -> None:
    """Units that lead to multi-user.target without the box's; Tulle and what it needs, as files."""
    (into / "units").mkdir(parents=True)
    for name in _TARGETS:
        (into / "units" / f"{name}.target").write_text(_alone(Path(f"/lib/systemd/system/{name}.target").read_text()))
    for name in units:
        text = Path(f"/lib/systemd/system/{name}").read_text()
        (into / "units" / name).write_text(text if name.startswith("user") else _alone(text))
    site = into / "site"
    shutil.copytree(Path(__file__).parents[2] / "src", site, ignore=shutil.ignore_patterns("__pycache__"))
    for name in sorted(_needed("tulle")):
        for file in metadata.distribution(name).files or ():
            if not file.parts[0].startswith("..") and "__pycache__" not in file.parts:
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(str(file.locate())), site / file)


def _interpreter() -> str:
    """The box's own where it is of this version: other users may not see where this one lies."""
    script = f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    is_same = Path("/usr/bin/python3").exists() and not subprocess.call(["/usr/bin/python3", "-c", script])
    return "/usr/bin/python3" if is_same else f"{sys.base_prefix}/bin/python3"


def _alone(unit: str) -> str:
    """Without the other units that it would bring along."""
    return re.sub(r"^(Conflicts|Requires|Wants|After)=.*\n", "", unit, flags=re.MULTILINE)


def _needed(name: str) -> set[str]:
    found: set[str] = set()
    for requirement in metadata.requires(name) or ():
        needed = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if "extra ==" not in requirement and needed not in found:
            found |= {needed, *_needed(needed)}
    return found
