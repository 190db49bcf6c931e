"""Attached services in a whole mesh: a caller and a callee that run without the mesh's doing, a pod between, a squatter."""

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.attached import EVIL, Actor, cgroup2_tree, groups, id_of
from tests.support.attached_calls import BROKEN, Calls
from tests.support.attached_mesh import REQUEST, State, address_of, be_in_time, get, in_time
from tests.support.processes import eventually
from tests.support.running import Door, Running, peer, running
from tools.exposition import total
from tools.ports import free_port
from tulle.wire.plan import FORWARD_PORT

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="several users are needed: run as root")

TILL, STORE = 64011, 64012
DOOR, PORT = free_port(), free_port()


class Box(NamedTuple):
    """The mesh, and what runs beside it."""

    mesh: Running
    till: Actor
    store: Actor
    evil: Actor
    group: Path
    """The till's."""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with groups("till", "store") as group, Actor(TILL, group["till"]) as till, Actor(STORE, group["store"]) as store:
        place = {name: "/" + str(one.relative_to(cgroup2_tree())) for name, one in group.items()}
        text = f"""
mesh: beside
services:
  till: # calls a pod
    attach: {{cgroup: {place["till"]}}}
    port: {free_port()}
    calls: [web]
  store: # called by a pod
    attach: {{uid: "{STORE}", cgroup: {place["store"]}}}
    port: {PORT}
    allow: [{{from: [web], methods: [GET]}}]
  web:
    run: {peer("web")}
    port: 8080
    expose: {DOOR}
    allow: [{{from: [till], methods: [GET]}}, {{paths: [/call]}}]
    calls: [store]
"""
        with Actor(EVIL) as evil, running("beside", text) as mesh:
            yield Box(mesh, till, store, evil, group["till"])


def address_of_web(mesh: Running) -> tuple[str, int]:
    return address_of(mesh.ask_agent("/snapshot"), "default/web"), 8080


def test_attached_caller_reaches_a_pod_and_another_does_not(box: Box) -> None:
    address = address_of_web(box.mesh)
    assert box.till.run(get, address) == 200
    assert box.evil.run(get, address) == 403


def test_pod_reaches_an_attached_service_and_nobody_in_its_place(box: Box) -> None:
    door = Door(DOOR)
    box.store.run(open_store, PORT)
    url = f"http://store:{PORT}/"
    assert door.call(url)["status"] == 200
    box.store.run(close_store)
    box.evil.run(open_store, PORT)
    assert (door.call(url)["status"], door.call(url)["reason"]) == (503, "squatted")
    assert shown(box.mesh) == ("squatted", f"has it now: {name_of(box.evil)} (pid {box.evil.pid})")
    box.evil.run(close_store)
    assert shown(box.mesh) == ("squatted", "nobody has it now")
    squatted = [one for one in box.mesh.series() if one.name == "tulle_squatted_total"]
    assert [(one.labels["workload"], one.value) for one in squatted] == [("default/store", 2)]
    box.store.run(open_store, PORT)
    assert door.call(url)["status"] == 200
    assert shown(box.mesh) == ("recognised", "")
    box.store.run(close_store)


def name_of(actor: Actor) -> str:
    """As the kernel has it."""
    return Path(f"/proc/{actor.pid}/comm").read_text().strip()


def shown(mesh: Running) -> tuple[str, str]:
    """State of `store` in `tulle status`, and who is said to be in its place."""
    (line,) = [one for one in mesh.tulle("status").stdout.splitlines() if one.startswith("default/store ")]
    _, state, _, *why = re.split("  +", line.strip())
    return state, "".join(why).rpartition("; ")[2]


class Traffic(NamedTuple):
    """Of the attached caller, of a stranger and to the attached service, all the time."""

    box: Box
    calls: tuple[Calls, ...]
    strangers: tuple[Calls, ...]
    served: Calls
    counted_before: float

    def goes_on(self) -> None:
        """Returns once each has had more answers."""
        for one in (*self.calls, *self.strangers, self.served):
            wanted = one.answered() + 20
            eventually(lambda one=one, wanted=wanted: one.answered() >= wanted, 30, f"more of {one.name}")  # type: ignore[misc]


def counted(mesh: Running) -> float:
    """The attached caller's requests, as the proxy has them."""
    return total(mesh.series(), "tulle_requests_total", source="default/till", destination="default/web")


@pytest.fixture
def traffic(box: Box) -> Iterator[Traffic]:
    """By virtual address and by the forward proxy, each with a connection for each request and with one that is kept."""
    address = address_of_web(box.mesh)
    named = b"GET http://web:8080/ HTTP/1.1\r\nhost: web:8080\r\n\r\n"
    ways = {"address": (address, REQUEST), "forward proxy": (("127.0.0.1", FORWARD_PORT), named)}
    box.store.run(open_store, PORT)
    before = counted(box.mesh)
    served = f"GET /call?url=http%3A%2F%2Fstore%3A{PORT}%2F HTTP/1.1\r\nhost: web\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:

        def calls(actor: Actor, way: str, kept: bool) -> Calls:
            one = Calls(actor, f"{actor.pid} by {way}{', kept' if kept else ''}", *ways[way], kept=kept)
            stack.callback(one.end)
            return one

        with Actor() as outsider:
            by_pod = Calls(outsider, "the pod's", ("127.0.0.1", DOOR), served, kept=False)
            stack.callback(by_pod.end)
            yield Traffic(
                box,
                tuple(calls(box.till, way, kept) for way in ways for kept in (False, True)),
                tuple(calls(box.evil, way, False) for way in ways),
                by_pod,
                before,
            )
            stack.close()
    box.store.run(close_store)


def test_upgrade_fails_no_attached_caller_and_lets_no_stranger_in(traffic: Traffic) -> None:
    mesh = traffic.box.mesh
    for _ in range(2):
        traffic.goes_on()
        old = mesh.status().proxies[0].pid
        mesh.tulle("upgrade", "--wait", "--drain", "10")
        assert mesh.status().proxies[0].pid != old
        traffic.goes_on()
    said = [one.end() for one in (*traffic.calls, traffic.served)]
    assert [set(one) for one in said] == [{200}] * 5, said
    assert [set(one.end()) for one in traffic.strangers] == [{403}] * 2
    assert counted(mesh) - traffic.counted_before == sum(one.answered() for one in traffic.calls)


def test_killed_agent_fails_no_attached_caller(traffic: Traffic) -> None:
    mesh = traffic.box.mesh
    traffic.goes_on()
    before = mesh.status().agent_pid
    mesh.processes.kill("agent")
    mesh.processes.restarted("agent", before)
    traffic.goes_on()
    eventually(mesh.is_ready, 20, "another agent answers")
    assert [set(one.end()) for one in (*traffic.calls, traffic.served)] == [{200}] * 5
    assert [set(one.end()) for one in traffic.strangers] == [{403}] * 2


def test_killed_proxy_takes_nobody_for_another_when_it_is_back(traffic: Traffic) -> None:
    """Connections break meanwhile; not one that is attached is refused, not one that is not is let in."""
    mesh = traffic.box.mesh
    traffic.goes_on()
    old = mesh.status().proxies[0].pid
    mesh.processes.kill("proxy")
    eventually(lambda: mesh.status().ready and mesh.status().proxies[0].pid != old, 20, "another proxy")
    traffic.goes_on()
    assert [set(one.end()) - {BROKEN} for one in traffic.calls] == [{200}] * 4
    assert [set(one.end()) - {BROKEN} for one in traffic.strangers] == [{403}] * 2


def test_caller_whose_group_was_made_anew_is_known_at_once(box: Box) -> None:
    """As a unit's is that was started again: nobody tells the supervisor, the proxy asks it to look."""
    box.till.end()
    address = address_of_web(box.mesh)

    def attempt() -> None:
        remake(box.group)
        with Actor(TILL, box.group) as again:
            began = time.monotonic()
            status = again.run(get, address)
            if status != 200:
                be_in_time(began)
        assert status == 200

    in_time(attempt)


def remake(group: Path) -> None:
    """Another of the same name."""
    before = id_of(group)
    eventually(lambda: not (group / "cgroup.procs").read_text(), 10, "its process is gone")
    group.rmdir()
    group.mkdir()
    assert id_of(group) != before


def open_store(state: State, port: int) -> None:
    """Serves anything."""
    listener = state["listener"] = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with sock:
                    sock.recv(65536)
                    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()


def close_store(state: State) -> None:
    listener = state.pop("listener")
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
