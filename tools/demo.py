"""`make demo`: starts the shop on a mesh by the public command line, drives it, shows it live, and judges what was seen.

Exit 0 only if the split, the refusals and the failures are as they should be. Everything is taken down again, whatever happens;
--keep puts that off until ctrl-C.
"""

import argparse
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tools.demo_report import Seen, judge, print_report, watch
from tools.exposition import Series, parse
from tools.footprint import Footprint, descendants, footprint, is_running
from tools.load import Load, Order, Report
from tools.ports import free_port
from tulle.http.client import request
from tulle.manifest import load
from tulle.model.resources import Service
from tulle.supervisor.door import open_door
from tulle.supervisor.holder import holder_of
from tulle.wire.status import NodeStatus

ROOT = Path(__file__).resolve().parents[1]
SHOP = ROOT / "examples/shop/mesh.yaml"
MESH = "shop"
SCRATCH = Path("/tmp")  # noqa: S108  (a directory of its own is made there)


def main() -> int:
    """Reads like the demo runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second (default 300)")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--mesh-file", type=Path, default=SHOP, help="a copy of the shop's, at another port perhaps")
    parser.add_argument("--scratch", type=Path, default=SCRATCH, help="where the mesh keeps its own things meanwhile")
    parser.add_argument("--keep", action="store_true", help="print the address and stay up until ctrl-C")
    given = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))

    with shop_mesh(given.mesh_file.absolute(), given.scratch) as mesh:
        order = Order(mesh.url, connections=given.connections, rate=given.rate, seconds=given.seconds)
        print(
            f"load: {given.rate:g} requests/s for {given.seconds:g} s on {given.connections} connections to {mesh.url}"
        )
        through = drive(order, mesh)
        at_rest = mesh.footprint()
        print("the same programs, directly on this host …")
        with directly(given.mesh_file.absolute().parent) as url:
            direct = Load(Order(url, connections=given.connections, rate=given.rate, seconds=given.seconds / 4)).run()
        seen = Seen(through, direct, mesh.series(), at_rest)
        faults = judge(seen)
        print_report(seen, faults, mesh.hints())
        if given.keep:
            stay_up(mesh)
    return 1 if faults else 0


@dataclass(frozen=True, slots=True)
class Shop:
    """The running mesh."""

    scratch: Path
    url: str
    supervisor_pid: int

    def series(self) -> list[Series]:
        """The metrics as they are now."""
        reply = request(self.scratch / "run" / MESH / "agent.sock", "GET", "/metrics")
        return parse(reply.body.decode())

    def footprint(self) -> Footprint:
        return footprint(self.supervisor_pid)

    def hints(self) -> list[str]:
        """Commands worth typing while it is up."""
        where = " ".join(f"{k}={v}" for k, v in _places(self.scratch).items())
        return [
            f"export {where}",
            *(f"tulle {words}" for words in (
                "status", "top", "tap", "why dev/spy prod/payments", "why web orders --path /orders/1", "logs", "down",
            )),
        ]  # fmt: skip


def drive(order: Order, mesh: Shop) -> Report:
    """Runs the load in a thread of its own, and watches the mesh meanwhile."""
    load = Load(order)
    thread = threading.Thread(target=load.run, name="load", daemon=True)
    try:
        thread.start()
        watch(mesh.series, lambda: thread.is_alive(), load.report)
    finally:
        load.stop()
        if thread.is_alive():
            thread.join()
    return load.report


def stay_up(mesh: Shop) -> None:
    """Returns at ctrl-C, or when somebody else has taken the mesh down."""
    supervisor = os.pidfd_open(mesh.supervisor_pid)
    try:
        print(f"\nit stays up until ctrl-C: {mesh.url}", flush=True)
        select.select([supervisor], [], [])
    except KeyboardInterrupt:
        print()
    finally:
        os.close(supervisor)


@contextmanager
def shop_mesh(mesh_file: Path, parent: Path) -> Iterator[Shop]:
    """Brings the shop up, and down again."""
    refuse_taken_door(mesh_file)
    # Below /tmp unless said: the path of a unix socket must be short.
    scratch = Path(tempfile.mkdtemp(prefix="tulle-demo-", dir=parent))
    supervisor_pid = 0
    try:
        began = time.monotonic()
        tulle(scratch, "up", "--detach", str(mesh_file))
        status = msgspec.json.decode(
            request(scratch / "run" / MESH / "agent.sock", "GET", "/status").body, type=NodeStatus
        )
        supervisor_pid = status.supervisor_pid
        print(f"up in {time.monotonic() - began:.1f} s: {len(status.pods)} pods, {_doors(status)}")
        mesh = Shop(scratch, f"http://127.0.0.1:{status.doors[0].port}/", supervisor_pid)
        yield mesh
    finally:
        take_down(scratch, supervisor_pid)


def refuse_taken_door(mesh_file: Path) -> None:
    """Ends when another program, another demo perhaps, has the door's port: one line, and what to do."""
    loaded = load([mesh_file])
    if isinstance(loaded, list):
        raise SystemExit("\n".join(map(str, loaded)))
    for port in (port for one in loaded.resources if isinstance(one, Service) for port, _ in one.doors()):
        try:
            open_door(port).close()
        except OSError as fault:
            holder = holder_of(port)
            remedy = f"end {holder}" if holder else "`ss -ltnp` may say who has it"
            raise SystemExit(f"demo: port {port} is not free ({fault.strerror}); {remedy}") from fault


def take_down(scratch: Path, supervisor_pid: int) -> None:
    """`tulle down`; where that fails, ends the supervisor, and with it all that it started."""
    tulle(scratch, "down", "--mesh", MESH, check=False)
    if supervisor_pid and is_running(supervisor_pid):
        left = descendants(supervisor_pid)
        print(
            f"`tulle down` left the supervisor ({supervisor_pid}) and {len(left)} processes; killing it",
            file=sys.stderr,
        )
        with suppress(ProcessLookupError):
            os.kill(supervisor_pid, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)


def tulle(scratch: Path, *words: str, check: bool = True) -> None:
    """Runs the command line as anybody would. Raises SystemExit when it fails and that matters."""
    command = [str(Path(sys.executable).with_name("tulle")), *words]
    # A session of its own: ctrl-C is for the demo, which then takes down in order.
    done = subprocess.run(
        command,
        check=False,
        env={**os.environ, **_places(scratch)},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    if check and done.returncode:
        raise SystemExit(f"demo: `tulle {' '.join(words)}` exited with {done.returncode}")


def _places(scratch: Path) -> dict[str, str]:
    return {"TULLE_RUNTIME_DIR": str(scratch / "run"), "TULLE_STATE_DIR": str(scratch / "state")}


def _doors(status: NodeStatus) -> str:
    return ", ".join(f"{door.service} on port {door.port}" for door in status.doors)


@contextmanager
def directly(home: Path) -> Iterator[str]:
    """The shop's programs as plain processes of this host, dialling each other's ports; yields the address of web."""
    web, orders, payments = (free_port() for _ in range(3))
    programs: list[tuple[list[str], dict[str, object]]] = [
        (["shop.payments"], {"PORT": payments}),
        (["shop.orders", "v1"], {"PORT": orders, "PAYMENTS": f"127.0.0.1:{payments}"}),
        (["shop.web"], {"PORT": web, "ORDERS": f"127.0.0.1:{orders}"}),
    ]
    running = []
    try:
        for words, environment in programs:
            command = ["python3", "-m", *words]
            said = {name: str(value) for name, value in environment.items()}
            running.append(subprocess.Popen(command, cwd=home, env={**os.environ, **said}, stdout=subprocess.PIPE))
        for one in running:
            if one.stdout is None or not one.stdout.readline():
                raise SystemExit(f"demo: {one.args!r} does not start")
        yield f"http://127.0.0.1:{web}/"
    finally:
        for one in running:
            one.kill()
            one.communicate()


if __name__ == "__main__":
    sys.exit(main())
