"""`tulle upgrade` on a whole mesh: under load, with what lasts, and with everything that may go wrong in the middle of it."""

import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple
from urllib.request import urlopen

import grpc  # type: ignore[import-untyped]
import pytest

import tulle
from tests.integration.test_mesh_grpc import load as grpc_load
from tests.support.grpc_ends import Calls
from tests.support.processes import eventually, is_running, kill
from tests.support.running import Door, Running, grpc_service, load_from_outside, peer, running
from tools.exposition import Series, parse, total
from tools.load import Report
from tools.ports import free_port
from tulle.wire.status import NodeStatus
from tulle.wire.upgrade import Stage

UPGRADES = 5
ANSWERS = 60
"""More of them before and after each upgrade."""
REQUESTS = "tulle_requests_total"
pytestmark = [pytest.mark.user, pytest.mark.timeout(180)]


class Code:
    """A copy of Tulle that the mesh runs from: what is written here the next process is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._package = root / "tulle"
        self._writes = 0
        shutil.copytree(Path(tulle.__file__).parents[1], root, symlinks=True)
        self._main = (self._package / "proxy/__main__.py").read_text()

    def version(self, text: str) -> None:
        """Every process started from now on says that it is this one."""
        self._change("__init__.py", f'__version__ = "{tulle.__version__}"', f'__version__ = "{text}"')

    def schema(self, number: int) -> None:
        """Snapshots are of this schema from now on."""
        self._change("wire/snapshot.py", "SCHEMA_VERSION = 1\n", f"SCHEMA_VERSION = {number}\n")

    def proxy(self, text: str = "") -> None:
        """What a new proxy does before it is one; nothing without words."""
        self._write("proxy/__main__.py", text + self._main)

    def _change(self, name: str, old: str, new: str) -> None:
        text = (Path(tulle.__file__).parent / name).read_text()
        assert old in text
        self._write(name, text.replace(old, new))

    def _write(self, name: str, text: str) -> None:
        """With a time of its own: what is compiled already is told apart by that, to the second."""
        path = self._package / name
        path.write_text(text)
        self._writes += 1
        moment = time.time() + 10 * self._writes
        os.utime(path, (moment, moment))


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Iterator[Code]:
    scratch = Path(tempfile.mkdtemp(prefix="tulle-code-", dir="/tmp"))
    scratch.chmod(0o755)  # the proxy, a user of its own, reads it too
    one = Code(scratch / "code")
    monkeypatch.setenv("PYTHONPATH", str(one.root))
    yield one
    shutil.rmtree(scratch)


class Doors(NamedTuple):
    """Their ports."""

    web: int
    calls: int
    raw: int
    driver: int
    """To whom the test says what to do, and who calls the others from within."""


class Gate:
    """A new proxy waits at it before it is anything, until it is opened."""

    def __init__(self, code: Code) -> None:
        self._path = code.root / "gate"
        os.mkfifo(self._path)
        code.proxy(f"open({str(self._path)!r}).read()\n")
        self._code = code
        self._bar = -1

    def reached(self) -> None:
        """Returns once somebody waits here; nobody who comes later will."""
        eventually(self._is_reached, 20, "a new proxy at the gate")
        self._code.proxy()

    def open(self) -> None:
        """Lets on who waits."""
        os.close(self._bar)

    def _is_reached(self) -> bool:
        try:
            self._bar = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as fault:
            if fault.errno != errno.ENXIO:
                raise
            return False
        return True


@pytest.fixture
def doors() -> Doors:
    return Doors(free_port(), free_port(), free_port(), free_port())


@pytest.fixture
def mesh(code: Code, doors: Doors) -> Iterator[Running]:
    text = f"""
mesh: upgrade
services:
  web:
    run: {peer("web")}
    port: 8080
    expose: {doors.web}
    allow: [{{methods: [GET, POST]}}]
  driver:
    run: {peer("driver")}
    port: 8080
    expose: {doors.driver}
    allow: [{{}}]
  orders:
    run: {peer("orders", "--port", "9000")}
    port: 9000
    allow: [{{from: [driver]}}]
  calls:
    run: {grpc_service(50051)}
    port: 50051
    protocol: grpc
    expose: {doors.calls}
    allow: [{{}}]
  raw:
    run: {peer("raw", "--port", "8081", "--tcp", "7000")}
    port: 7000
    protocol: tcp
    expose: {doors.raw}
    allow: [{{}}]
"""
    with running("upgrade", text) as one:
        yield one


class Scraper:
    """Scrapes all the time, each time anew, and sees that no counter goes back."""

    def __init__(self, mesh: Running) -> None:
        self.scrapes = 0
        self.fell: list[tuple[str, float, float]] = []
        self.failed: list[str] = []
        self._url = f"http://{mesh.status().metrics.address}/metrics"
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        before: dict[str, float] = {}
        while not self._is_over.wait(0.02):
            try:
                with urlopen(self._url, timeout=20) as answer:
                    now = {_name(one): one.value for one in parse(answer.read().decode()) if _is_counter(one)}
            except OSError as fault:
                self.failed.append(str(fault))
                continue
            self.scrapes += 1
            self.fell += [
                (name, before[name], now.get(name, 0.0)) for name in before if now.get(name, 0.0) < before[name]
            ]
            before = now


def _is_counter(one: Series) -> bool:
    return one.name.startswith("tulle_") and one.name.endswith(("_total", "_bucket", "_count", "_sum"))


def _name(one: Series) -> str:
    return one.name + str(sorted(one.labels.items()))


@contextmanager
def scraped(mesh: Running) -> Iterator[Scraper]:
    one = Scraper(mesh)
    try:
        yield one
    finally:
        one.stop()


@contextmanager
def upgrading(mesh: Running, *words: str) -> "Iterator[Future[subprocess.CompletedProcess[str]]]":
    """`tulle upgrade` beside the test."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(mesh.tulle, "upgrade", *words, check=False)


def newcomer(mesh: Running) -> int:
    """The proxy that is started to take another's place."""

    def found() -> int:
        others = [one.pid for one in mesh.status().proxies[1:] if one.state == "starting"]
        return others[0] if others else 0

    return eventually(found, 15, "a new proxy")


def drained(mesh: Running) -> NodeStatus:
    """Returns once there is one proxy again."""
    eventually(lambda: mesh.status().upgrade.stage is Stage.DONE, 30, "the end of the drain")
    return mesh.status()


def wait_for_more(report: Report) -> None:
    wanted = report.answered + ANSWERS
    eventually(lambda: report.answered >= wanted, 30, f"{ANSWERS} more answers")


def test_upgrades_in_a_row_fail_no_request_and_lose_no_count(mesh: Running, code: Code, doors: Doors) -> None:
    web, driver = Door(doors.web), Door(doors.driver)
    first = mesh.status()
    before = mesh.processes.footprint()
    with (
        scraped(mesh) as scraper,
        load_from_outside(web.url + "/", rate=100, connections=8) as kept,
        load_from_outside(web.url + "/", rate=50, connections=16, keep_alive=False) as anew,
        grpc_load(doors.calls) as calls,
    ):
        driver.start_load("http://orders/", seconds=150, rate=50, connections=4)
        for number in range(UPGRADES):
            wait_for_more(kept)
            wait_for_more(anew)
            calls.goes_on(ANSWERS)
            old = mesh.status().proxies[0].pid
            idle = socket.create_connection(("127.0.0.1", doors.web), 20)
            tunnel = socket.create_connection(("127.0.0.1", doors.raw), 20)
            tunnel.sendall(b"abc")
            idle.sendall(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n")
            assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
            code.version(f"9.0.{number}")

            said = mesh.tulle("upgrade", "--drain", "60").stderr

            now = mesh.status()
            assert f"(tulle 9.0.{number}) serves" in said
            assert f"stays tulle {tulle.__version__}" in said
            assert (now.version, now.proxies[0].version) == (f"9.0.{number}", f"9.0.{number}")
            assert now.proxies[0].pid != old
            wait_for_more(anew)
            calls.goes_on(ANSWERS)
            assert is_running(old), "it ended with callers that did not know"
            tunnel.sendall(b"def")
            tunnel.shutdown(socket.SHUT_WR)
            assert tunnel.recv(100) == b"fedcba"
            tunnel.close()
            idle.sendall(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n")
            answer = idle.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in answer.lower()
            idle.close()
            now = drained(mesh)
            assert not is_running(old)
            assert len(now.proxies) == 1
        inside = driver.stop_load()
    last = mesh.status()

    assert (kept.failed, anew.failed, inside["failed"], calls.failed) == (0, 0, 0, []), (kept.failures, anew.failures)
    assert (scraper.failed, scraper.fell) == ([], [])
    assert scraper.scrapes > UPGRADES
    assert (last.supervisor_pid, last.generation) == (first.supervisor_pid, first.generation)
    assert [pod.restarts for pod in last.pods] == [0] * 5
    series = mesh.series()
    assert total(series, REQUESTS, destination="default/web") == kept.answered + anew.answered + 2 * UPGRADES
    assert total(series, REQUESTS, destination="default/orders") == inside["sent"]
    assert total(series, REQUESTS, destination="default/calls") == len(calls.samples)
    assert total(series, "tulle_tcp_connections_total", destination="default/raw") == UPGRADES
    after = mesh.processes.footprint()
    assert sorted(one.role for one in after.processes) == sorted(one.role for one in before.processes)
    assert after.rss("proxy") < before.rss("proxy") * 1.5


def test_what_lasts_lasts_until_the_deadline(mesh: Running, doors: Doors) -> None:
    old = mesh.status().proxies[0].pid
    tunnel = socket.create_connection(("127.0.0.1", doors.raw), 30)
    tunnel.sendall(b"abc")
    with Calls(doors.calls) as calls:
        words: SimpleQueue[bytes] = SimpleQueue()
        words.put(b"before")
        stream = calls.chat(iter(words.get, None))
        assert next(stream) == b"before"
        mesh.tulle("upgrade", "--drain", "15")  # time for two more command lines, however slow the box is
        words.put(b"after")
        assert next(stream) == b"after"
        shown = mesh.tulle("status").stdout
        assert f"proxy       pid {old}, drains, at most " in shown
        refused = mesh.tulle("upgrade", check=False)
        assert refused.returncode == 1
        assert "error[upgrade-refused]: an upgrade is not done yet" in refused.stderr
        connections = total(mesh.series(), "tulle_connections_open")
        assert connections == 2

        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(ConnectionResetError):
            tunnel.recv(1)
    tunnel.close()
    now = drained(mesh)
    assert not is_running(old)
    assert [one.state for one in now.proxies] == ["serving"]
    series = mesh.series()
    assert total(series, "tulle_tcp_connections_total", response_class="reset") == 1
    assert total(series, "tulle_grpc_responses_total", grpc_status="UNAVAILABLE") == 1


def test_a_new_denial_ends_what_it_serves_where_it_drains(mesh: Running, doors: Doors) -> None:
    tunnel = socket.create_connection(("127.0.0.1", doors.raw), 30)
    tunnel.sendall(b"abc")
    mesh.tulle("upgrade", "--drain", "600")
    text = mesh.manifest.read_text()
    before, raw, after = text.partition("  raw:")

    mesh.apply(before + raw + after.replace("allow: [{}]", "allow: [{from: [web]}]"))

    with pytest.raises(ConnectionResetError):
        tunnel.recv(1)
    tunnel.close()
    drained(mesh)


def test_who_is_in_a_hurry_need_not_wait_for_what_drains(mesh: Running, doors: Doors) -> None:
    tunnel = socket.create_connection(("127.0.0.1", doors.raw), 30)
    tunnel.sendall(b"abc")
    mesh.tulle("upgrade", "--drain", "600")
    assert len(mesh.status().proxies) == 2

    mesh.tulle("upgrade", "--hurry", "--wait")

    with pytest.raises(ConnectionResetError):
        tunnel.recv(1)
    tunnel.close()
    assert len(mesh.status().proxies) == 1


@pytest.mark.parametrize("fault", ["it ends", "it hangs", "it is killed"])
def test_a_new_proxy_that_does_not_serve_changes_nothing(mesh: Running, code: Code, doors: Doors, fault: str) -> None:
    before = mesh.status()
    if fault == "it ends":
        code.proxy("raise SystemExit(3)\n")
    else:
        Gate(code)
    with load_from_outside(Door(doors.web).url + "/", rate=100, connections=8) as report:
        wait_for_more(report)
        with upgrading(mesh, "--timeout", "1" if fault == "it hangs" else "60") as upgrade:
            if fault == "it is killed":
                kill(newcomer(mesh))
            done = upgrade.result()
        wait_for_more(report)
    after = mesh.status()
    reasons = {
        "it ends": "the new proxy ended (exit 3) before it served",
        "it hangs": "the new proxy did not serve within 1 s",
        "it is killed": "the new proxy ended (signal SIGKILL) before it served",
    }
    assert done.returncode == 1
    assert f"error[upgrade-failed]: {reasons[fault]}; the old proxy goes on" in done.stderr
    assert (after.proxies[0].pid, after.agent_pid) == (before.proxies[0].pid, before.agent_pid)
    assert len(after.proxies) == 1
    assert report.failed == 0, report.failures

    code.proxy()
    mesh.tulle("upgrade", "--wait")

    assert mesh.status().proxies[0].pid != before.proxies[0].pid


def test_an_agent_killed_in_the_middle_is_no_hindrance(mesh: Running, code: Code, doors: Doors) -> None:
    before = mesh.status()
    gate = Gate(code)
    with load_from_outside(Door(doors.web).url + "/", rate=100, connections=8) as report:
        with upgrading(mesh) as upgrade:
            gate.reached()
            mesh.processes.kill("agent")
            mesh.processes.restarted("agent", before.agent_pid)
            gate.open()
            done = upgrade.result()
        wait_for_more(report)

    assert done.returncode == 0, done.stderr
    assert drained(mesh).proxies[0].pid != before.proxies[0].pid
    assert report.failed == 0, report.failures


def test_an_old_proxy_killed_in_the_middle_is_replaced_all_the_same(mesh: Running, code: Code) -> None:
    before = mesh.status()
    gate = Gate(code)
    with upgrading(mesh) as upgrade:
        gate.reached()
        kill(before.proxies[0].pid)
        eventually(lambda: mesh.status().proxies[0].pid not in (0, before.proxies[0].pid), 15, "it is started again")
        gate.open()
        done = upgrade.result()

    assert done.returncode == 0, done.stderr
    eventually(lambda: mesh.status().ready, 20, "ready")
    assert len(drained(mesh).proxies) == 1


def test_a_new_proxy_killed_while_the_old_one_drains_comes_back_with_the_counts(mesh: Running, doors: Doors) -> None:
    web = Door(doors.web)
    tunnel = socket.create_connection(("127.0.0.1", doors.raw), 30)
    tunnel.sendall(b"abc")
    assert web.drive(count=ANSWERS, connections=2).failed == 0
    mesh.tulle("upgrade", "--drain", "600")
    new = mesh.status().proxies[0].pid

    kill(new)

    eventually(lambda: mesh.status().proxies[0].pid not in (0, new), 15, "it is started again")
    eventually(lambda: mesh.status().ready, 15, "ready")
    assert web.drive(count=ANSWERS, connections=2).failed == 0
    assert total(mesh.series(), REQUESTS, destination="default/web") == 2 * ANSWERS
    tunnel.sendall(b"def")
    tunnel.shutdown(socket.SHUT_WR)
    assert tunnel.recv(100) == b"fedcba"
    tunnel.close()
    drained(mesh)
    assert total(mesh.series(), "tulle_tcp_connections_total", destination="default/raw") == 1


def test_a_mesh_taken_down_in_the_middle_leaves_nothing(mesh: Running, code: Code) -> None:
    gate = Gate(code)
    with upgrading(mesh) as upgrade:
        gate.reached()
        everything = mesh.processes.all()
        mesh.tulle("down", "--mesh", "upgrade")
        done = upgrade.result()

    gate.open()
    assert done.returncode != 0
    assert not any(map(is_running, everything))
    assert not list(mesh.manifest.parents[1].glob("run/upgrade/admin*"))


def test_a_proxy_that_reads_another_schema_is_told_by_an_agent_that_writes_it(
    mesh: Running, code: Code, doors: Doors
) -> None:
    with load_from_outside(Door(doors.web).url + "/", rate=100, connections=8) as report:
        wait_for_more(report)
        code.version("9.9.9")
        code.schema(2)

        mesh.tulle("upgrade", "--wait", "--drain", "10")

        wait_for_more(report)
    now = mesh.status()
    assert now.ready
    assert (now.version, now.proxies[0].version) == ("9.9.9", "9.9.9")
    assert report.failed == 0, report.failures
    shown = subprocess.run(
        [sys.executable, "-m", "tulle.cli", "version"],
        env=mesh.environment | {"PYTHONPATH": str(Path(tulle.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"mesh upgrade: proxy pid {now.proxies[0].pid} runs tulle 9.9.9" in shown
    assert "supervisor" not in shown
