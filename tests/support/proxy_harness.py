"""A real proxy process with the test at the supervisor's end of every descriptor."""

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tulle.kit.netlink import open_sock_diag
from tulle.wire.plan import Handover, encode
from tulle.wire.snapshot import (
    Action,
    AttachedEndpoint,
    Backend,
    Door,
    HostEndpoint,
    Limits,
    Mode,
    Operation,
    PodEndpoint,
    Policy,
    Protocol,
    Route,
    Rule,
    Service,
    ServicePort,
    Snapshot,
    WeightedBackend,
    encode_snapshot,
)

NOBODYS_NETLINK_PORT = 1 << 31
DEADLINE = 20.0
"""Seconds that a fact is waited for before the test fails."""


class Broker(threading.Thread):
    """Answers with sockets of this test's own network; remembers what it was asked."""

    def __init__(self, link: socket.socket) -> None:
        super().__init__(daemon=True)
        self.asked: list[tuple[str, int]] = []
        self.refuses: set[str] = set()
        self.forgets = 0
        """So many of the next questions are read and never answered, as by one that dies."""
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._link = link

    def close(self) -> None:
        """Answers no longer."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self.join(DEADLINE)
        self._link.close()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Reads nothing within, until `let_go`."""
        self._goes_on.clear()
        try:
            yield
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Reads on."""
        self._goes_on.set()

    def say(self, octets: bytes) -> None:
        """What nobody asked for, with a socket."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
            socket.send_fds(self._link, [octets], [made.fileno()])

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while message := self._link.recv(4096):
                self._goes_on.wait(DEADLINE)
                question = json.loads(message)
                self.asked.append((question["pod"], question["family"]))
                if self.forgets:
                    self.forgets -= 1
                    continue
                if question["pod"] in self.refuses:
                    self._link.send(json.dumps({"id": question["id"], "error": "no such pod"}).encode())
                    continue
                family = socket.AF_INET6 if question["family"] == 6 else socket.AF_INET
                with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as made:
                    answer = json.dumps({"id": question["id"]}).encode()
                    socket.send_fds(self._link, [answer], [made.fileno()])


class Proxy:
    """Doors are plain listeners on loopback; the names of doors are their ports."""

    def __init__(
        self, memory: int | None = None, options: tuple[str, ...] = (), diag: socket.socket | None = None
    ) -> None:
        self._files = contextlib.ExitStack()
        self.doors: dict[int, socket.socket] = {}
        self.hosts: list[socket.socket] = []
        self.memory = memory if memory is not None else os.memfd_create("snapshot")
        self.admin_path = Path(self._files.enter_context(tempfile.TemporaryDirectory())) / "admin.sock"
        self._admin = self._listen(socket.AF_UNIX, str(self.admin_path))
        self._metrics = self._listen(socket.AF_INET, ("127.0.0.1", 0))
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        broker_link, broker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.broker = Broker(broker_link)
        self.broker.start()
        self._diag = diag or open_sock_diag()
        self._log_end, log = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        descriptors = (
            *(control.fileno(), broker.fileno(), self._admin.fileno(), self._metrics.fileno(), self.memory),
            *(self._diag.fileno(), log),
        )
        names = ("--control-fd", "--broker-fd", "--admin-fd", "--metrics-fd", "--memory-fd", "--diag-fd", "--access-fd")
        arguments = [text for name, fd in zip(names, descriptors, strict=True) for text in (name, str(fd))]
        self.log = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  (closed by the stack)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tulle.proxy", *arguments, *options], pass_fds=descriptors, stderr=self.log
        )
        control.close()
        broker.close()
        os.close(log)
        self.logged = b""
        """What was read of the access log."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        self.broker.close()
        if self._log_end >= 0:
            os.close(self._log_end)
        for sock in (self.control, self._admin, self._metrics, self._diag, *self.doors.values(), *self.hosts):
            sock.close()
        complaints = self.complaints()
        self._files.close()
        if kind is None:
            assert not complaints, complaints

    def complaints(self) -> str:
        """What the proxy wrote to its log."""
        self.log.seek(0)
        return self.log.read().decode()

    def access_log(self) -> list[dict[str, Any]]:
        """The lines written so far, read back. Nobody else reads the pipe: what it does not hold is dropped."""
        with contextlib.suppress(BlockingIOError):
            while octets := os.read(self._log_end, 1 << 20):
                self.logged += octets
        *lines, rest = self.logged.split(b"\n")
        assert not rest
        return [json.loads(line) for line in lines]

    def give_up_log(self) -> int:
        """The reading end of the access log's pipe, now the test's own."""
        end = self._log_end
        self._log_end = -1
        return end

    @property
    def metrics_port(self) -> int:
        """Where Prometheus would scrape."""
        return int(self._metrics.getsockname()[1])

    def door(self) -> int:
        """Opens a door and hands it over; returns its port. The snapshot says where it leads."""
        sock = self._listen(socket.AF_INET, ("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
        self.doors[port] = sock
        self.hand_over("door", str(port), sock)
        return port

    def host(self, address: str = "127.80.0.1", port: int = 0) -> int:
        """Opens a listener at a virtual address of the box; returns its port, which a snapshot's service has to have."""
        sock = self._listen(socket.AF_INET, (address, port))
        port = int(sock.getsockname()[1])
        self.hosts.append(sock)
        self.hand_over("host", f"{address}:{port}", sock)
        return port

    def tell(self, kind: str, name: str = "", uid: int = -1, cgroups: list[int] | None = None) -> None:
        """A fact about attached workloads."""
        self.control.send(encode(Handover(kind, name, uid, cgroups)))

    def deafen_kernel(self) -> None:
        """From now on no question of the proxy's reaches the kernel: whoever is looked up is nobody. The socket is this one."""
        self._diag.connect((NOBODYS_NETLINK_PORT, 0))

    def hand_over(self, kind: str, name: str, sock: socket.socket | None = None) -> None:
        """Says what the supervisor would say."""
        fds = [sock.fileno()] if sock is not None else []
        socket.send_fds(self.control, [encode(Handover(kind, name))], fds)

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request to the admin API."""
        connection = http.client.HTTPConnection("tulle", timeout=DEADLINE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(DEADLINE)
        connection.sock.connect(str(self.admin_path))
        with contextlib.closing(connection):
            connection.request(method, path, body or None)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def get(self, path: str) -> Any:
        """JSON of the admin API."""
        return json.loads(self.ask("GET", path)[1])

    def put(self, snapshot: Snapshot) -> None:
        """Puts a snapshot in force."""
        status, answer = self.ask("PUT", "/snapshot", encode_snapshot(snapshot))
        assert status == 200, answer
        assert json.loads(answer) == {"generation": snapshot.generation}

    def metrics(self) -> "Metrics":
        """What is counted now."""
        return Metrics(self.ask("GET", "/metrics")[1].decode())

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits until a fact holds."""
        until(holds, what)

    def resident_bytes(self) -> int:
        """Memory of the proxy now."""
        statm = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(statm[1]) * os.sysconf("SC_PAGE_SIZE")

    def _listen(self, family: socket.AddressFamily, address: Any) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(4096)
        return sock


class Metrics:
    """An exposition, read back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: list[tuple[str, dict[str, str], float]] = []
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            name, _, value = line.rpartition(" ")
            family, _, labels = name.partition("{")
            pairs = dict(part.split("=", 1) for part in labels.rstrip("}").split(",") if part)
            self.samples.append((family, {k: v.strip('"') for k, v in pairs.items()}, float(value)))

    def sum(self, family: str, **labels: str) -> float:
        """Of all series that have these labels."""
        return sum(
            value
            for name, found, value in self.samples
            if name == family and all(found.get(key) == wanted for key, wanted in labels.items())
        )


def until(holds: Callable[[], bool], what: str) -> None:
    """Waits until a fact holds, looking often; fails with `what` after the deadline."""
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end, f"never came true: {what}"
        select.select([], [], [], 0.005)


@contextlib.contextmanager
def stopped(proxy: Proxy) -> Iterator[None]:
    """What happens within comes to the proxy in one turn, in the order it happened."""
    proxy.process.send_signal(signal.SIGSTOP)
    stat = Path(f"/proc/{proxy.process.pid}/stat")
    until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the proxy is stopped")
    try:
        yield
    finally:
        proxy.process.send_signal(signal.SIGCONT)


ALLOW_ALL = Policy(name="default/all", action=Action.ALLOW, rules=(Rule(),))


def one_service(
    doors: dict[int, Protocol],
    endpoints: tuple[HostEndpoint | PodEndpoint | AttachedEndpoint, ...],
    *,
    generation: int = 1,
    limits: Limits | None = None,
    policies: tuple[Policy, ...] = (ALLOW_ALL,),
    mode: Mode = Mode.ENFORCE,
    routes: tuple[Route, ...] | None = None,
    backends: tuple[Backend, ...] = (),
    speaks: Protocol = Protocol.DETECT,
) -> Snapshot:
    """A mesh of one service, `default/orders`, with one port per door: 8001, 8002, … `speaks`: what its endpoints do."""
    backend = Backend(
        name="default/orders:9000", service="default/orders", version="v1", protocol=speaks, endpoints=endpoints
    )
    shares = (WeightedBackend(backend=backend.name),)
    if routes is None:
        routes = (Route(name="default/orders", backends=shares),)
    ports = tuple(
        ServicePort(port=8001 + index, target_port=9000, protocol=protocol, routes=routes, backends=shares)
        for index, protocol in enumerate(doors.values())
    )
    service = Service(
        name="default/orders", address="127.80.0.1", ports=ports, policies=tuple(policy.name for policy in policies)
    )
    return Snapshot(
        generation=generation,
        mesh="shop",
        trust_domain="shop.local",
        mode=mode,
        services=(service,),
        backends=(backend, *backends),
        policies=policies,
        doors=tuple(
            Door(port=door, service="default/orders", service_port=8001 + index) for index, door in enumerate(doors)
        ),
        limits=limits if limits is not None else Limits(),
    )


def only(*methods: str, paths: tuple[str, ...] = ()) -> Policy:
    """Allows these methods, on these paths."""
    return Policy(
        name="default/only",
        action=Action.ALLOW,
        rules=(Rule(operations=(Operation(methods=methods, paths=paths),)),),
    )


class Backends:
    """Small servers of one test: each connection is served by a function in a thread of its own."""

    def __init__(self) -> None:
        self.connections = 0
        self._listeners: list[socket.socket] = []

    def serve(self, handler: Callable[[socket.socket], None], family: socket.AddressFamily = socket.AF_INET) -> int:
        """Starts one; returns its port."""
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        listener.listen(1024)
        self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener, handler), daemon=True).start()
        return int(listener.getsockname()[1])

    def close(self) -> None:
        """Accepts no longer."""
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket, handler: Callable[[socket.socket], None]) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                # Or each small write behind another waits for a delayed acknowledgement, 40 ms.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock, handler), daemon=True).start()

    def _serve(self, sock: socket.socket, handler: Callable[[socket.socket], None]) -> None:
        with contextlib.suppress(OSError), sock:
            handler(sock)


def read_head(sock: socket.socket, buffer: bytes = b"") -> tuple[bytes, bytes]:
    """A head and what came after it; both empty at the end of the stream."""
    while b"\r\n\r\n" not in buffer:
        read = sock.recv(65536)
        if not read:
            return b"", b""
        buffer += read
    head, _, rest = buffer.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def requests(sock: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    """The requests of a connection, (head, body), for bodies framed by Content-Length or chunks. One that is cut off is none."""
    rest = b""
    while True:
        head, rest = read_head(sock, rest)
        if not head:
            return
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            while b"0\r\n" not in rest or not rest.endswith(b"\r\n\r\n"):
                if not (more := sock.recv(65536)):
                    return
                rest += more
            body, rest = rest, b""
        elif b"content-length: " in lower:
            length = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
            while len(rest) < length:
                if not (more := sock.recv(65536)):
                    return
                rest += more
            body, rest = rest[:length], rest[length:]
        else:
            body = b""
        yield head, body


def ok(body: bytes, *fields: bytes) -> bytes:
    """A 200 with this body."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b" % (len(body), lines, body)


def echo(sock: socket.socket) -> None:
    """Answers each request with its own octets."""
    for head, body in requests(sock):
        sock.sendall(ok(b"" if head.startswith(b"HEAD") else head + body))


class Hold:
    """Holds every request until it is let go, then answers all with one body."""

    def __init__(self, body: bytes = b"") -> None:
        self._body = body
        self._may_answer = threading.Event()

    def __call__(self, sock: socket.socket) -> None:
        for _ in requests(sock):
            self._may_answer.wait(DEADLINE)
            sock.sendall(ok(self._body))

    def let_go(self) -> None:
        """Answers what is held, and what comes later at once."""
        self._may_answer.set()


def dial(port: int) -> socket.socket:
    """A connection to a door."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_all(sock: socket.socket) -> bytes:
    """Everything until the end of the stream."""
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def talk(port: int, octets: bytes) -> bytes:
    """Sends octets, shuts nothing, reads until the proxy closes."""
    with dial(port) as sock:
        sock.sendall(octets)
        return read_all(sock)


@contextlib.contextmanager
def backend_process(name: str) -> Iterator[int]:
    """`proxy_backend.py` in a process of its own; gives its port."""
    with backend_and_pid(name) as (port, _):
        yield port


@contextlib.contextmanager
def backend_and_pid(name: str) -> Iterator[tuple[int, int]]:
    """The same; gives its port and which process it is."""
    command = [sys.executable, str(Path(__file__).with_name("proxy_backend.py")), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def host(port: int, workload: str = "default/orders-v1") -> HostEndpoint:
    """An endpoint on this test's loopback."""
    return HostEndpoint(workload=workload, host="127.0.0.1", port=port)


class Client:
    """A caller's connection that reads whole answers."""

    def __init__(self, port: int | socket.socket) -> None:
        self.sock = dial(port) if isinstance(port, int) else port
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, octets: bytes) -> None:
        """As they are."""
        self.sock.sendall(octets)

    def read(self, method: str = "GET") -> tuple[int, bytes, bytes]:
        """The next answer: status, head, body. Interim answers count as answers."""
        head, rest = read_head(self.sock, self._rest)
        assert head, "closed instead of answered"
        lower = head.lower()
        status = int(head.split(b" ")[1])
        body = b""
        if method == "HEAD" or status in (204, 304) or status < 200:
            self._rest = rest
        elif b"\r\ntransfer-encoding: chunked" in lower:
            while True:
                while b"\r\n" not in rest:
                    rest += self._more()
                size, _, rest = rest.partition(b"\r\n")
                while len(rest) < int(size, 16) + 2:
                    rest += self._more()
                if int(size, 16) == 0:
                    while not rest.startswith(b"\r\n") and b"\r\n\r\n" not in rest:
                        rest += self._more()
                    if rest.startswith(b"\r\n"):
                        trailers, self._rest = b"", rest[2:]
                    else:
                        trailers, _, self._rest = rest.partition(b"\r\n\r\n")
                    self.trailers = trailers
                    break
                body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        elif b"\r\ncontent-length: " in lower:
            length = int(lower.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
            while len(rest) < length:
                rest += self._more()
            body, self._rest = rest[:length], rest[length:]
        else:
            body, self._rest = rest + read_all(self.sock), b""
        return status, head, body

    def get(self, path: str = "/", *fields: str) -> tuple[int, bytes, bytes]:
        """One GET and its answer."""
        lines = "".join(f"{field}\r\n" for field in fields)
        self.send(f"GET {path} HTTP/1.1\r\nhost: orders\r\n{lines}\r\n".encode())
        return self.read()

    def is_closed(self) -> bool:
        """Waits for the proxy to close; nothing more may come."""
        return not self._rest and read_all(self.sock) == b""

    def _more(self) -> bytes:
        read = self.sock.recv(65536)
        assert read, "closed within the answer"
        return read


def field(head: bytes, name: str) -> str | None:
    """The value of a field, None when it is not there."""
    for line in head.decode("latin-1").split("\r\n")[1:]:
        found, _, value = line.partition(":")
        if found.lower() == name:
            return value.strip()
    return None
