"""A mesh of peers, brought up by the public command line, asked through its doors, taken down whatever happens."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import msgspec

from tests.support.processes import Processes, eventually, is_running
from tools.exposition import Series, parse
from tools.load import Load, Order, Report
from tools.ports import free_port
from tulle.http.client import ResponseError, request
from tulle.wire.status import NodeStatus

PROGRAMS = (
    *map(Path(__file__).with_name, ("peer.py", "grpc_ends.py")),
    Path(__file__).resolve().parents[2] / "tools/load.py",
)
"""What pods run: copied beside the manifest, since a pod sees its working directory wherever it lies, and little else."""
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TULLE = Path(sys.executable).with_name("tulle")


def peer(name: str, *words: str, python: str = sys.executable) -> str:
    """The `run:` of a peer that listens on 8080 unless the words say otherwise."""
    return json.dumps([python, "peer.py", "--name", name, *words])


def grpc_service(port: int) -> str:
    """The `run:` of a gRPC service."""
    return json.dumps([sys.executable, "grpc_ends.py", str(port)])


class Running:
    """One mesh, from `up` to `down`."""

    def __init__(
        self, mesh: str, manifest: Path, scratch: Path, options: Sequence[str] = (), program: Path = TULLE
    ) -> None:
        self.mesh = mesh
        self.manifest = manifest
        self._scratch = scratch
        self._options = options
        self._program = program
        inherited = {name: value for name, value in os.environ.items() if program == TULLE or name != "PYTHONPATH"}
        self.environment = {
            **inherited, "TULLE_RUNTIME_DIR": str(scratch / "run"), "TULLE_STATE_DIR": str(scratch / "state"),
        }  # fmt: skip

    def tulle(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command line; what it said is part of the failure."""
        done = subprocess.run(
            [str(self._program), *words], env=self.environment, capture_output=True, text=True, timeout=90, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"tulle {' '.join(words)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def up(self) -> None:
        """Returns once every pod is ready."""
        self.tulle("up", "--detach", *self._options, str(self.manifest))
        eventually(lambda: self.status().ready, 30, f"ready: {self.status().waits_for}")

    def down(self) -> None:
        """Takes it down; what remains is killed, so that a broken mesh spoils no other test."""
        supervisor = self._supervisor()
        self.tulle("down", "--mesh", self.mesh, check=False)
        if supervisor and is_running(supervisor):
            with suppress(ProcessLookupError):
                os.kill(supervisor, signal.SIGKILL)

    def _supervisor(self) -> int:
        try:
            return int((self._scratch / "run" / self.mesh / "supervisor.pid").read_text())
        except (OSError, ValueError):
            return 0

    @property
    def processes(self) -> Processes:
        return Processes(self._supervisor())

    def ask_agent(self, target: str) -> bytes:
        """What GET on the agent's socket answers."""
        reply = request(self._scratch / "run" / self.mesh / "agent.sock", "GET", target)
        return reply.body

    def status(self) -> NodeStatus:
        return msgspec.json.decode(self.ask_agent("/status"), type=NodeStatus)

    def is_ready(self) -> bool:
        """Whether there is an agent, and it waits for nothing."""
        status = self._status_now()
        return status is not None and status.ready

    def series(self) -> list[Series]:
        """The proxy's metrics."""
        return parse(self.ask_agent("/metrics").decode())

    def apply(self, text: str) -> None:
        """Writes the manifest and returns once the proxy serves it."""
        before = eventually(self._in_force, 15, "the manifest before in force")
        self.write(text)
        eventually(lambda: self._in_force() > before, 15, "the new manifest in force")

    def log(self, pod: str) -> str:
        """What this pod has said."""
        path = self._scratch / "state" / self.mesh / "logs" / f"{pod.replace('/', '_')}.log"
        return path.read_text() if path.exists() else ""

    def write(self, text: str) -> None:
        """Replaces the manifest at one stroke, as an editor does."""
        draft = self._scratch / ".mesh.yaml"
        draft.write_text(text)
        draft.replace(self.manifest)

    def _in_force(self) -> int:
        """The wanted generation, once the proxy serves it; 0 until then, and while no agent answers."""
        status = self._status_now()
        return status.generation if status and status.proxy.generation == status.generation else 0

    def _status_now(self) -> NodeStatus | None:
        """None while no agent answers: one of them may have ended just now."""
        try:
            return self.status()
        except (OSError, ResponseError):
            return None

    def pod_pid(self, name: str) -> int:
        """The pod's first process, on the host."""
        return next(pod.pid for pod in self.status().pods if pod.name == name)


class Door:
    """A peer behind a port of the host: what it says when asked to do things from within its pod."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, target: str, *, post: bool = False) -> Any:
        """The JSON it answers."""
        with urlopen(self.url + target, data=b"" if post else None, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def call(self, url: str) -> dict[str, Any]:
        """It GETs that address: `status`, `reason`, `version`, `body`, or `error`."""
        called: dict[str, Any] = self.ask(f"/call?url={quote(url, safe='')}")
        return called

    def exchange(self, host: str, port: int, send: str, *, shut: bool = True) -> dict[str, Any]:
        """It sends a stream, shuts its half (or not) and reads to the end: `got`, or `error`."""
        words = {"host": host, "port": port, "send": send, "shut": "yes" if shut else "no"}
        exchanged: dict[str, Any] = self.ask(f"/tcp?{urlencode(words)}")
        return exchanged

    def start_load(self, url: str, **options: object) -> None:
        """It starts `load.py` in its pod."""
        self.ask(f"/load?{urlencode({'url': url, **options})}", post=True)

    def load(self, url: str, *, within: float = 120.0, **options: object) -> dict[str, Any]:
        """It runs `load.py` in its pod to the end."""
        self.start_load(url, **options)
        return self.load_report(within)

    def stop_load(self) -> dict[str, Any]:
        """Ends the load started before; its report."""
        self.ask("/stop", post=True)
        return self.load_report(within=20)

    def load_report(self, within: float) -> dict[str, Any]:
        """The report of the load started before."""

        def finished() -> dict[str, Any] | None:
            report: dict[str, Any] = self.ask("/load")
            return report or None

        return eventually(finished, within, "the end of the load", every=0.1)

    def drive(self, target: str = "/", **options: Any) -> Report:
        """Load from outside, in this thread."""
        return Load(Order(self.url + target, **options)).run()


@contextmanager
def load_from_outside(url: str, **options: object) -> Iterator[Report]:
    """Runs beside the test until its block ends; the report grows meanwhile."""
    load = Load(Order(url, **options))  # type: ignore[arg-type]
    thread = Thread(target=load.run)
    thread.start()
    try:
        yield load.report
    finally:
        load.stop()
        thread.join()


@contextmanager
def running(mesh: str, text: str, *options: str, program: Path = TULLE) -> Iterator[Running]:
    """A mesh that is ready, `up` with these options; gone afterwards, with all that it kept. `program`: an installed `tulle`."""
    with _scratch() as scratch:
        scratch.chmod(0o711)  # what is not isolated comes in as anybody does
        home = scratch / "mesh"
        home.mkdir()
        for source in PROGRAMS:
            shutil.copy(source, home)
        one = Running(mesh, home / "mesh.yaml", scratch, options, program)
        one.manifest.write_text(text)
        with _from_up_to_down(one):
            yield one


@contextmanager
def running_example(
    mesh: str, ports: Mapping[int, int], *, own_python: bool = False, beside: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """The same of an example, at these ports instead of its own. `own_python`: its `python3` has what the tests' has; `beside`: more manifests, by file name."""
    with example(mesh, ports) as (home, _), _scratch() as scratch:
        for name, text in (beside or {}).items():
            (home / name).write_text(text)
        one = Running(mesh, home if beside else home / "mesh.yaml", scratch)
        if own_python:
            one.environment["PATH"] = f"{Path(sys.executable).parent}:{one.environment['PATH']}"
        with _from_up_to_down(one):
            yield one


@contextmanager
def example(name: str, ports: Mapping[int, int]) -> Iterator[tuple[Path, Mapping[int, int]]]:
    """A copy of an example whose mesh file says these ports instead of its own, so that two runs may go side by side.

    Examples that it names as `../other` lie beside it.
    """
    with _scratch() as scratch:
        home = scratch / name
        text = (EXAMPLES / name / "mesh.yaml").read_text()
        for one in {name, *re.findall(r"\.\./([a-z-]+)", text)}:
            shutil.copytree(EXAMPLES / one, scratch / one, ignore=shutil.ignore_patterns("__pycache__"))
        for own, other in ports.items():
            assert str(own) in text, f"example {name} has no port {own}"
            text = text.replace(str(own), str(other))
        (home / "mesh.yaml").write_text(text)
        yield home, ports


def free_ports(*own: int) -> dict[int, int]:
    """A port of this host that is free for each of an example's own."""
    return {one: free_port() for one in own}


@contextmanager
def _scratch() -> Iterator[Path]:
    # Below /tmp itself: the path of a unix socket must be short.
    scratch = Path(tempfile.mkdtemp(prefix="tulle-test-", dir="/tmp"))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _from_up_to_down(one: Running) -> Iterator[Running]:
    try:
        one.up()
        yield one
    finally:
        one.down()
