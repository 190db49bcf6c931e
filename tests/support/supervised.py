"""A real supervisor under test, as root or as an ordinary user, between a fake agent and a fake proxy."""

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from tulle.wire.plan import Plan, PodSpec, PodStatus, Report, decode_report, encode
from tulle.wire.upgrade import Proxies, decode_proxies

PATIENCE_SECONDS = 60.0
ORDINARY_UID = 58123
"""Some uid that the box does not know."""
SOURCE = Path(__file__).parents[2] / "src"
MESH = "test"

RUNNERS = ("root", "user") if os.getuid() == 0 else ("user",)
"""Who the supervisor runs as: root can be both."""
SPREAD = """
import os, time
os.fork() or (os.setsid(), os.fork())
print("up", flush=True)
time.sleep(1000)
"""
"""A service that leaves descendants: a child that leads a session of its own, and a child of that."""


class Line:
    """JSON lines from a process that connects to the test, again and again."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(8)
        self._listener.settimeout(PATIENCE_SECONDS)
        path.chmod(0o777)
        self._connection: socket.socket | None = None
        self._rest = b""

    def accept(self) -> None:
        """Waits for the process, or for the next one of its kind."""
        if self._connection:
            self._connection.close()
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(PATIENCE_SECONDS)
        self._rest = b""

    def send(self, line: bytes) -> None:
        """Sends one line."""
        assert self._connection
        self._connection.sendall(line)

    def read(self, within: float = PATIENCE_SECONDS) -> bytes:
        """The next line. Raises TimeoutError, or EOFError when the process has ended."""
        assert self._connection
        deadline = time.monotonic() + within
        while b"\n" not in self._rest:
            self._connection.settimeout(max(0.001, deadline - time.monotonic()))
            text = self._connection.recv(1 << 16)
            if not text:
                raise EOFError
            self._rest += text
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def close(self) -> None:
        """Closes both sockets."""
        if self._connection:
            self._connection.close()
        self._listener.close()


class Supervised:
    """The supervisor's process and the two lines into it."""

    def __init__(self, runner: str, way: str = "auto") -> None:
        self.runner = runner
        self.way = way
        """How pods are to reach the mesh."""
        self.directory = Path(tempfile.mkdtemp(prefix="tulle-", dir="/tmp"))
        self.own_uid = os.getuid()
        self.uid = 0 if runner == "root" else (ORDINARY_UID if os.getuid() == 0 else os.getuid())
        self.home = self.directory / "home"
        self.python = python_for(self.uid)
        self.wrapper: list[str] = []
        """A command that starts the supervisor's."""
        self.environment: dict[str, str] = {}
        """Of the supervisor, besides what every one has."""
        self.plan = Plan(0, [], {}, [], [])
        self.report = Report(0, [], [], "")
        self.proxies = Proxies([], "")
        self.statuses: dict[str, PodStatus] = {}
        self.seen: list[dict[str, PodStatus]] = []
        self.told: list[tuple[str, str]] = []
        self._prepare()
        self.agent = Line(self.directory / "agent")
        self.proxy = Line(self.directory / "proxy")

    def __enter__(self) -> Self:
        self.start()
        return self

    @contextlib.contextmanager
    def prepared_only(self) -> Iterator[None]:
        """The directory with code that this user may read, and no supervisor."""
        try:
            yield
        finally:
            self.agent.close()
            self.proxy.close()
            shutil.rmtree(self.directory)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.agent.close()
        self.proxy.close()
        self.wait_until(lambda: not self.left_over(), "something is left of the supervisor")
        shutil.rmtree(self.directory)

    @property
    def runtime(self) -> Path:
        return self.directory / "run" / MESH

    @property
    def state(self) -> Path:
        return self.directory / "state" / MESH

    def start(self) -> None:
        """Starts the supervisor and waits for its agent and proxy."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": str(self.directory / "src"),
            "TULLE_RUNTIME_DIR": str(self.directory / "run"),
            "TULLE_STATE_DIR": str(self.directory / "state"),
            "TULLE_TEST_AGENT": str(self.directory / "agent"),
            "TULLE_TEST_PROXY": str(self.directory / "proxy"),
            "TULLE_TEST_MARK": self.directory.name,
            **self.environment,
        }
        command = [self.python, str(self.directory / "support" / "run_supervisor.py"), self.way, MESH, "mesh.yaml"]
        with (self.directory / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                [*self.wrapper, *command],
                env=env,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                **self._as_user(),
            )
        self.proxy.accept()
        self.agent.accept()

    def apply(
        self,
        *pods: PodSpec,
        doors: list[int] | None = None,
        hosts: dict[str, str] | None = None,
        addresses: list[str] | None = None,
    ) -> None:
        """Sends a plan of these pods."""
        protected = [str(self.home / "mesh.yaml")]
        self.plan = Plan(self.plan.generation + 1, list(pods), hosts or {}, doors or [], protected, addresses or [])
        self.agent.send(encode(self.plan))

    def pod(self, name: str, *argv: str, **fields: Any) -> PodSpec:
        """A PodSpec with what a test does not care about filled in."""
        fields = {"namespace": name.partition("/")[0], "env": {}, "cwd": str(self.home)} | fields
        return PodSpec(name=name, argv=list(argv), **fields)

    def await_state(self, name: str, state: str, why: str = "") -> PodStatus:
        """Waits until the supervisor reports a pod in this state, with `why` in its reason."""
        return self.await_status(name, lambda s: s.state == state and why in s.why, f"{state} {why}")

    def await_status(self, name: str, holds: Callable[[PodStatus], bool], wish: str) -> PodStatus:
        """Waits until what the supervisor reports of a pod fulfils a wish."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (name in self.statuses and holds(self.statuses[name])):
            try:
                line = self.agent.read(deadline - time.monotonic())
            except TimeoutError:
                raise AssertionError(f"{name} is not {wish}: {self.statuses}\n{self.words()}") from None
            self._take(line)
        return self.statuses[name]

    def await_report(self, holds: Callable[[Report], bool], wish: str) -> Report:
        """Waits until what the supervisor reports fulfils a wish."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds(self.report):
            try:
                self._take(self.agent.read(deadline - time.monotonic()))
            except TimeoutError:
                raise AssertionError(f"never {wish}: {self.report}\n{self.words()}") from None
        return self.report

    def statuses_now(self) -> dict[str, PodStatus]:
        """What is reported after all that the supervisor has been told and has done: of the same plan, sent once more."""
        self.plan = self.plan._replace(generation=self.plan.generation + 1)
        self.agent.send(encode(self.plan))
        self.await_report(lambda report: report.generation == self.plan.generation, "another report")
        return self.statuses

    def _take(self, line: bytes) -> None:
        if (proxies := decode_proxies(line)) is not None:
            self.proxies = proxies
            return
        self.report = decode_report(line)
        self.statuses = {one.name: one for one in self.report.pods}
        self.seen.append(self.statuses)

    def await_absence(self, name: str) -> None:
        """Waits until the supervisor no longer reports a pod that it has reported."""
        while name in self.statuses:
            self._take(self.agent.read())

    def await_told(self, kind: str, name: str) -> None:
        """Waits until the proxy has been told something; each telling counts once."""
        while (kind, name) not in self.told:
            self._hear()
        del self.told[: self.told.index((kind, name)) + 1]

    def ask(self, what: str, **arguments: Any) -> Any:
        """Has the proxy do something, and returns what came of it."""
        self.proxy.send(json.dumps({"do": what, **arguments}).encode() + b"\n")
        while True:
            if (answer := self._hear()) is not None:
                return answer["answer"]

    def log_lines(self, name: str) -> list[str]:
        """What a pod has written, without stamps."""
        path = self.state / "logs" / f"{name.replace('/', '_')}.log"
        if not path.exists():
            return []
        return [line.split(" ", 3)[3] for line in path.read_text().splitlines()]

    def stamp_of(self, name: str, part: str) -> str:
        """When a pod wrote a line with this part."""
        path = self.state / "logs" / f"{name.replace('/', '_')}.log"
        return next(line.split(" ", 1)[0] for line in path.read_text().splitlines() if part in line)

    def await_line(self, name: str, part: str) -> str:
        """Waits until a pod has written a line with this part."""
        self.wait_until(lambda: any(part in one for one in self.log_lines(name)), f"{name} never wrote {part!r}")
        return next(one for one in self.log_lines(name) if part in one)

    def words(self) -> str:
        """What the supervisor and the pods have said."""
        said = [(self.directory / "stderr").read_text()]
        said += [f"{one.name}: {one.read_text()}" for one in sorted((self.state / "logs").glob("*.log"))]
        return "\n".join(said)[-8000:]

    def children(self) -> list[int]:
        """Processes that the supervisor is the parent of."""
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def pid_of(self, part: str) -> int:
        """The supervisor's child with this in its command line."""
        return next(pid for pid in self.children() if part in _read(pid, "cmdline"))

    def broker_pid(self) -> int:
        """The supervisor's own image that holds exactly CAP_SYS_ADMIN; 0 while there is none."""
        holders = [pid for pid in self.children() if self.status_of(pid).get("CapEff") == "0000000000200000"]
        return holders[0] if holders else 0

    def stem_pid(self) -> int:
        """What pods are forked from; 0 while there is none."""
        return next((pid for pid in self.children() if self.status_of(pid).get("Name") == "tulle-stem"), 0)

    def status_of(self, pid: int) -> dict[str, str]:
        """/proc/PID/status."""
        return dict(line.split(":\t", 1) for line in _read(pid, "status").splitlines() if ":\t" in line)

    def left_over(self) -> list[int]:
        """Processes anywhere that were started by this supervisor."""
        return self.marked("TULLE_TEST_MARK") + self.marked("TULLE_TEST_POD")

    def marked(self, variable: str) -> list[int]:
        """Processes anywhere whose environment has this variable with the name of this test's directory."""
        mark = f"{variable}={self.directory.name}"
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and entry.name != str(os.getpid()):
                environment = _read(int(entry.name), "environ")
                if mark in environment and _state(int(entry.name)) != "Z":
                    found.append(int(entry.name))
        return found

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Sends a signal to a process of this supervisor."""
        os.kill(pid, number)

    def limit_descriptors(self, count: int) -> int:
        """How many descriptors the supervisor may have from now on; returns how many that was."""
        pid = self.process.pid
        row = next(line for line in _read(pid, "limits").splitlines() if line.startswith("Max open files"))
        soft, hard = row.split()[3:5]
        subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={count}:{hard}"], check=True, **self._as_user())
        return int(soft)

    def wait_until(self, holds: Callable[[], bool], failure: str, within: float = PATIENCE_SECONDS) -> None:
        """Waits for a fact that nobody announces."""
        deadline = time.monotonic() + within
        pause = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with pause:
            pause.settimeout(0.01)
            while not holds():
                if time.monotonic() > deadline:
                    raise AssertionError(f"{failure}\n{self.words()}")
                with contextlib.suppress(TimeoutError):
                    pause.recv(1)

    def _hear(self) -> dict[str, Any] | None:
        try:
            heard: dict[str, Any] = json.loads(self.proxy.read())
        except (TimeoutError, EOFError) as fault:
            raise AssertionError(f"the proxy is silent: {fault!r}\n{self.words()}") from None
        if "told" not in heard:
            return heard
        self.told.append((heard["told"][0], heard["told"][1]))
        return None

    def _as_user(self) -> dict[str, Any]:
        return {} if self.uid == os.getuid() else {"user": self.uid, "group": self.uid, "extra_groups": []}

    def _prepare(self) -> None:
        shutil.copytree(SOURCE, self.directory / "src", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(Path(__file__).parent, self.directory / "support", ignore=shutil.ignore_patterns("__pycache__"))
        self.home.mkdir()
        (self.home / "mesh.yaml").write_text("mesh: test\n")
        self.directory.chmod(0o755)
        if os.getuid() == 0:
            for path in (self.directory, self.home, self.home / "mesh.yaml"):
                os.chown(path, self.uid, self.uid)


@contextlib.contextmanager
def supervised(runner: str, way: str = "auto") -> Iterator[Supervised]:
    """A running supervisor; nothing of it is left afterwards."""
    with Supervised(runner, way) as one:
        yield one


def python_for(uid: int) -> str:
    """An interpreter that this user may execute."""
    real = Path(sys.executable).resolve()
    if uid in (0, os.getuid()) or all(one.stat().st_mode & stat.S_IXOTH for one in (real, *real.parents)):
        return sys.executable
    return "/usr/bin/python3"


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _state(pid: int) -> str:
    return _read(pid, "stat").rpartition(")")[2].strip()[:1]
