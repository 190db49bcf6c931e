"""A hostile service in a pod meets the outcome that its table expects, row by row, as root and as an ordinary user."""

import contextlib
import ctypes
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.intruder import ATTEMPTS
from tests.support.supervised import RUNNERS, Supervised, supervised
from tulle.wire.plan import Readiness

pytestmark = pytest.mark.user

SERVE = "import signal, socket; listener = socket.create_server(('0.0.0.0', 8080)); signal.pause()"
SECURITY = Path(__file__).parents[2] / "SECURITY.md"


VIRTUAL = "127.80.7.7:4000"


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["redirect", "addresses"])
def mesh(runner: str, request: pytest.FixtureRequest) -> Iterator[Supervised]:
    with supervised(runner, request.param) as one:
        yield one


def test_an_intruder_finds_every_door_as_the_table_says(mesh: Supervised) -> None:
    with contextlib.ExitStack() as around:
        targets, udp = bait(mesh, around)
        mesh.apply(
            mesh.pod("default/neighbour", mesh.python, "-c", SERVE, readiness=Readiness(8080)), addresses=[VIRTUAL]
        )
        mesh.await_state("default/neighbour", "ready")
        intruder = mesh.pod(
            "default/intruder",
            mesh.python,
            "-I",
            str(mesh.home / "intruder.py"),
            env={"INTRUDER_TARGETS": json.dumps(targets)},
        )
        mesh.apply(*mesh.plan.pods, intruder, addresses=[VIRTUAL])
        mesh.await_line("default/intruder", '"end"')
        mesh.await_told("pod", "default/intruder")
        direct = mesh.ask("accept", name="default/intruder", reply="")
        udp.setblocking(False)
        with pytest.raises(BlockingIOError):
            udp.recv(100)

    *rows, end = [json.loads(line) for line in mesh.log_lines("default/intruder")][: len(ATTEMPTS) + 1]
    assert end == {"end": len(ATTEMPTS)}
    unexpected = [row for row in rows if row["outcome"] not in row["expected"]]
    assert not unexpected, "\n".join(f"{row['what']}: {row['outcome']} {row['words']}" for row in unexpected)
    assert direct["at"] == ["127.0.0.1", 15001]
    assert direct["meant"] == (direct["at"] if mesh.way == "redirect" else [])
    assert mesh.process.poll() is None


def test_the_table_is_listed_in_the_security_document() -> None:
    listed = SECURITY.read_text(encoding="utf-8")

    assert [one.what for one in ATTEMPTS if one.what not in listed] == []


def bait(mesh: Supervised, around: contextlib.ExitStack) -> tuple[dict[str, str], socket.socket]:
    """What an intruder would want, laid out on the host."""
    tcp = around.enter_context(socket.create_server(("127.0.0.1", 0)))
    udp = around.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("127.0.0.1", 0))
    abstract = f"tulle-test-{os.getpid()}"
    listen_unix(around, "\0" + abstract)
    listen_unix(around, str(mesh.runtime / "agent.sock"))
    forward = mesh.runtime.with_name(f"{mesh.runtime.name}.forward") / "proxy.sock"
    listen_unix(around, str(forward))
    forward.chmod(0o666)
    queue, key = host_ipc(around)
    in_tree = mesh.home / "host.sock"
    listen_unix(around, str(in_tree))
    in_tmp = mesh.directory.with_suffix(".secret")
    in_tmp.write_text("secret")
    around.callback(in_tmp.unlink)
    private = mesh.home / "private"
    private.write_text("secret")
    private.chmod(0o600)
    (mesh.home / "intruder.py").write_bytes((Path(__file__).parents[1] / "support" / "intruder.py").read_bytes())
    for path in (in_tree, private):
        os.chown(path, mesh.uid, mesh.uid)
    metrics = next(line for line in mesh.words().splitlines() if "metrics at" in line)
    return {
        "runner": mesh.runner,
        "way": mesh.way,
        "queue": queue,
        "key": str(key),
        "virtual_address": VIRTUAL.partition(":")[0],
        "virtual_port": VIRTUAL.partition(":")[2],
        "admin_socket": str(mesh.runtime / "admin.sock"),
        "agent_socket": str(mesh.runtime / "agent.sock"),
        "forward_socket": str(forward),
        "abstract": abstract,
        "tcp_port": str(tcp.getsockname()[1]),
        "udp_port": str(udp.getsockname()[1]),
        "metrics_port": metrics.rpartition(":")[2].partition("/")[0],
        "pod_port": "8080",
        "host_address": host_address(),
        "supervisor": str(mesh.process.pid),
        "mesh_file": str(mesh.home / "mesh.yaml"),
        "state_directory": str(mesh.state),
        "runtime_directory": str(mesh.runtime),
        "code_directory": str(mesh.directory / "src" / "tulle"),
        "file_in_tmp": str(in_tmp),
        "private_file": str(private),
        "socket_in_tree": str(in_tree),
    }, udp


def host_ipc(around: contextlib.ExitStack) -> tuple[str, int]:
    """A POSIX queue of the host, and a key under which the host has System V memory, semaphores and a queue."""
    libc = ctypes.CDLL(None, use_errno=True)
    name, key = f"/tulle-test-{os.getpid()}", 0x54000000 | os.getpid()
    queue = libc.mq_open(name.encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
    assert queue >= 0, os.strerror(ctypes.get_errno())
    around.callback(libc.mq_unlink, name.encode())
    around.callback(os.close, queue)
    create = 0o1666
    memory, semaphore, messages = libc.shmget(key, 4096, create), libc.semget(key, 1, create), libc.msgget(key, create)
    assert min(memory, semaphore, messages) >= 0, os.strerror(ctypes.get_errno())
    around.callback(libc.shmctl, memory, 0, None)
    around.callback(libc.semctl, semaphore, 0, 0)
    around.callback(libc.msgctl, messages, 0, None)
    return name, key


def listen_unix(around: contextlib.ExitStack, address: str) -> None:
    listener = around.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(address)
    listener.listen()


def host_address() -> str:
    """The host's address towards the outside, or one that is certainly not here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))
        except OSError:
            return "192.0.2.2"
        return str(one.getsockname()[0])
