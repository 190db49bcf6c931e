"""A real agent and a real proxy without a supervisor: the test holds the agent's control socket, and the door."""

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.support.processes import eventually, kill
from tests.support.proxy_harness import Proxy
from tulle.http.client import ResponseError, request
from tulle.wire.plan import PodStatus, Report, encode
from tulle.wire.status import NodeStatus

MESH = """
apiVersion: tulle.dev/v1
kind: Mesh
metadata: {{name: edge}}
spec: {{trustDomain: edge.local}}
---
apiVersion: v1
kind: Service
metadata: {{name: orders}}
spec:
  type: NodePort
  selector: {{app: orders}}
  ports: [{{port: 80, targetPort: {backend}, nodePort: {door}}}]
---
apiVersion: tulle.dev/v1
kind: Workload
metadata: {{name: orders}}
spec:
  labels: {{app: orders}}
  address: {{host: 127.0.0.1, port: {backend}}}
"""


class NodeAlone:
    """Serves `orders` behind one door; what its manifest says besides, the test says."""

    def __init__(self, proxy: Proxy, scratch: Path, backend: int) -> None:
        self.proxy = proxy
        self.door = proxy.door()
        proxy.hand_over("synced", "")
        self.manifest = scratch / "mesh.yaml"
        self._scratch = scratch
        self._backend = backend
        self._environment = {
            **os.environ, "TULLE_RUNTIME_DIR": str(scratch / "run"), "TULLE_STATE_DIR": str(scratch / "state"),
        }  # fmt: skip
        home = scratch / "run" / "edge"
        home.mkdir(parents=True, mode=0o700)
        self.state.mkdir(parents=True, mode=0o700)
        (home / "admin.sock").symlink_to(proxy.admin_path)
        self.pods: list[PodStatus] = []
        """What the agent is told of pods when it starts."""
        self.agent: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._reader: threading.Thread | None = None

    @property
    def state(self) -> Path:
        """Where the agent keeps what it remembers."""
        return self._scratch / "state" / "edge"

    def write(self, besides: str) -> None:
        """The manifest: the mesh, and these documents."""
        draft = self._scratch / ".mesh"
        draft.write_text(MESH.format(backend=self._backend, door=self.door) + besides)
        draft.replace(self.manifest)

    def start(self) -> None:
        """Starts the agent; returns once the proxy serves what it wants."""
        self._control, control = socket.socketpair()
        words = [sys.executable, "-m", "tulle.agent", "--mesh", "edge", "--manifest", str(self.manifest)]
        with (self._scratch / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [*words, "--control-fd", str(control.fileno())],
                pass_fds=[control.fileno()],
                env=self._environment,
                stderr=log,
            )
        control.close()
        self._control.sendall(encode(Report(0, self.pods, [], "127.0.0.1:15020")))
        self._reader = threading.Thread(target=_read_all, args=[self._control])
        self._reader.start()
        eventually(self._serves, 20, f"the proxy serves what the agent wants: {self.log()}")

    def follow(self, generation: int) -> None:
        """Tells the agent, as the supervisor would, that the plan of this generation is followed."""
        assert self._control
        self._control.sendall(encode(Report(generation, self.pods, [], "127.0.0.1:15020")))

    def post(self, target: str, body: bytes) -> bytes:
        """What POST on the agent's socket answers."""
        return request(self._scratch / "run" / "edge" / "agent.sock", "POST", target, body, timeout=60.0).body

    def kill(self) -> None:
        """SIGKILL to the agent."""
        assert self.agent
        kill(self.agent.pid)
        self._over()

    def stop(self) -> None:
        """SIGTERM to the agent; returns once it has ended."""
        if self.agent is not None:
            self.agent.terminate()
            self._over()

    def log(self) -> str:
        """What the agent said."""
        return (self._scratch / "agent.log").read_text()

    def resident_bytes(self) -> int:
        """Memory of the agent now."""
        assert self.agent
        pages = Path(f"/proc/{self.agent.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def limit_memory(self, more: int = 0) -> None:
        """Gives the agent, and what it forks, room for so many octets more than it maps now; without any, as many as there are."""
        assert self.agent
        pages = Path(f"/proc/{self.agent.pid}/statm").read_text().split()[0]
        most = int(pages) * os.sysconf("SC_PAGE_SIZE") + more if more else resource.RLIM_INFINITY
        resource.prlimit(self.agent.pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))

    def mapped(self) -> str:
        """The libraries that the agent has loaded, among other things."""
        assert self.agent
        return Path(f"/proc/{self.agent.pid}/maps").read_text()

    def status(self) -> NodeStatus:
        return msgspec.json.decode(self.ask("/status"), type=NodeStatus)

    def ask(self, target: str) -> bytes:
        """What GET on the agent's socket answers."""
        try:
            return request(self._scratch / "run" / "edge" / "agent.sock", "GET", target).body
        except (OSError, ResponseError) as fault:
            fault.add_note(self.log())
            raise

    def _serves(self) -> bool:
        assert self.agent
        assert self.agent.poll() is None, self.log()
        with contextlib.suppress(OSError):
            status = self.status()
            return status.generation > 0 and status.proxy.generation == status.generation
        return False

    def _over(self) -> None:
        assert self.agent
        assert self._control
        assert self._reader
        self.agent.wait(20)
        self.agent = None
        self._reader.join(20)
        self._control.close()


@contextlib.contextmanager
def node_alone(backend: int) -> Iterator[NodeAlone]:
    """Not started yet: its manifest has to be written first."""
    scratch = Path(tempfile.mkdtemp(prefix="tulle-test-", dir="/tmp"))  # the path of a unix socket must be short
    try:
        with Proxy() as proxy:
            one = NodeAlone(proxy, scratch, backend)
            try:
                yield one
            finally:
                one.stop()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _read_all(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            pass
