"""Attached endpoints: the workload gets what is its, on whichever loopback; who sits in its place gets no octet."""

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.attached import EVIL, ORDERS, ROOT, Actor, groups, id_of
from tests.support.attached_mesh import ADDRESS, REQUEST, AttachedMesh, State, be_in_time, in_time
from tests.support.proxy_harness import DEADLINE, Backends, Proxy, read_head, until
from tools.ports import free_port
from tulle.kit.sock_diag import place_of
from tulle.wire.snapshot import AttachedEndpoint, Limits, Protocol

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="several users are needed: run as root")

V4, V6, ANY_V4, ANY = "127.0.0.1", "::1", "0.0.0.0", "::"
WORKLOAD = "default/orders"


@pytest.fixture
def orders() -> Iterator[Actor]:
    """The service."""
    with Actor(ORDERS) as actor:
        yield actor


@pytest.fixture
def evil() -> Iterator[Actor]:
    """Another user."""
    with Actor(EVIL) as actor:
        yield actor


class Shop:
    """`default/orders` is attached at a port; anybody may call it."""

    def __init__(self, mesh: AttachedMesh) -> None:
        self.mesh = mesh
        self.proxy = mesh.proxy
        self.port = free_port()
        self.put()
        self.proxy.tell("attached", WORKLOAD, ORDERS)

    def put(self, generation: int = 1, limits: Limits | None = None, **how: Any) -> None:
        """Puts it in force. Whoever calls is waited for until it has spoken, however late this test does."""
        self.mesh.serve(
            AttachedEndpoint(workload=WORKLOAD, port=self.port),
            generation=generation,
            anonymous=True,
            limits=replace(limits or Limits(), detect_timeout=DEADLINE),
            **how,
        )

    def call(self) -> tuple[int, bytes]:
        """Status and reason of a request on a connection of its own."""
        with socket.create_connection((ADDRESS, self.mesh.port), timeout=20) as sock:
            sock.sendall(REQUEST)
            head, _ = read_head(sock)
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        return int(head.split()[1]), fields.get(b"x-tulle-reason", b"")

    def forgive(self) -> None:
        """The proxy's log may say of squatters what it likes."""
        assert all(line.startswith(f"proxy: {WORKLOAD}: ") for line in self.proxy.complaints().splitlines())
        self.proxy.log.truncate(0)

    def be_looked_at(self) -> None:
        """This test's own control group is known to be nobody's from now on."""
        with socket.create_connection((ADDRESS, self.mesh.port), timeout=20):
            self.mesh.hear("look")
            self.proxy.tell("looked")

    def squatted(self) -> float:
        """Times that somebody else was found."""
        return self.proxy.metrics().sum("tulle_squatted_total", workload=WORKLOAD)


@pytest.fixture
def shop(orders: Actor, evil: Actor, proxy: Proxy, backends: Backends) -> Iterator[Shop]:
    with AttachedMesh(proxy, backends) as mesh:
        yield Shop(mesh)
        assert mesh.proxy.metrics().sum("tulle_defects_total") == 0


SQUATTED = (503, b"squatted")
FAILED = (503, b"connect-failed")


@pytest.mark.parametrize("at", [V4, V6, ANY_V4, ANY])
def test_workload_is_reached_where_it_listens(shop: Shop, orders: Actor, at: str) -> None:
    orders.run(open_shop, (at, shop.port))
    assert [shop.call()[0] for _ in range(3)] == [200] * 3
    assert shop.squatted() == 0


def test_workload_that_listens_on_another_loopback_than_before_is_found(shop: Shop, orders: Actor) -> None:
    for at in V6, V4:
        orders.run(open_shop, (at, shop.port))
        assert shop.call()[0] == 200
        orders.run(close_shop)
        assert shop.call() == FAILED


@pytest.mark.parametrize("at", [V4, V6, ANY_V4, ANY])
def test_port_of_a_stopped_service_brings_another_user_nothing(shop: Shop, evil: Actor, at: str) -> None:
    evil.run(open_shop, (at, shop.port))
    assert [shop.call() for _ in range(3)] == [SQUATTED] * 3
    assert evil.run(takings) == []
    assert shop.squatted() >= 3
    shop.forgive()


def test_squatter_is_told_of_once_a_minute(shop: Shop, evil: Actor) -> None:
    evil.run(open_shop, (V4, shop.port))
    for _ in range(3):
        shop.call()
    log = shop.proxy.complaints()
    assert log.count("\n") == 1
    assert f"{WORKLOAD}: port {shop.port} of {V4} is held by another (uid {EVIL}, control group " in log
    shop.forgive()


def test_status_tells_of_a_squatter(shop: Shop, orders: Actor, evil: Actor) -> None:
    told = {"workload": WORKLOAD, "address": f"localhost:{shop.port}", "ready": True, "in_flight": 0}
    for actor, is_squatter in (evil, True), (orders, False):
        actor.run(open_shop, (V4, shop.port))
        shop.call()
        status = shop.proxy.get("/status")
        assert status["endpoints"] == [{**told, "squatted": is_squatter}]
        assert (status["attached"], status["hosts"]) == ([WORKLOAD], [f"{ADDRESS}:{shop.mesh.port}"])
        actor.run(close_listener)
    shop.forgive()


def test_squatter_of_one_loopback_does_not_keep_the_workload_from_the_other(
    shop: Shop, orders: Actor, evil: Actor
) -> None:
    evil.run(open_shop, (V4, shop.port))
    orders.run(open_shop, (V6, shop.port))
    assert [shop.call()[0] for _ in range(3)] == [200] * 3
    assert evil.run(takings) == []
    assert shop.squatted() == 1
    shop.forgive()


def test_workload_comes_back_after_a_squatter(shop: Shop, orders: Actor, evil: Actor) -> None:
    evil.run(open_shop, (V4, shop.port))
    assert shop.call() == SQUATTED
    evil.run(close_shop)
    assert shop.call() == FAILED
    orders.run(open_shop, (V4, shop.port))
    assert shop.call()[0] == 200
    shop.forgive()


def test_open_connections_outlive_a_squatter_that_comes_later(shop: Shop, orders: Actor, evil: Actor) -> None:
    orders.run(open_shop, (V4, shop.port))
    with socket.create_connection((ADDRESS, shop.mesh.port), timeout=20) as sock:
        sock.sendall(REQUEST)
        assert read_head(sock)[0].startswith(b"HTTP/1.1 200 ")
        orders.run(close_listener)
        evil.run(open_shop, (V4, shop.port))
        sock.sendall(REQUEST)
        assert read_head(sock)[0].startswith(b"HTTP/1.1 200 ")
    assert evil.run(takings) == []


def test_kernel_refuses_another_user_a_more_specific_address(shop: Shop, orders: Actor, evil: Actor) -> None:
    orders.run(open_shop, (ANY_V4, shop.port), True)
    assert evil.run(fault_of_opening, (V4, shop.port), True) == errno.EADDRINUSE


def test_same_user_of_another_group_gets_nothing(proxy: Proxy, backends: Backends) -> None:
    with groups("orders", "evil") as group, Actor(ORDERS, group["evil"]) as evil, AttachedMesh(proxy, backends) as mesh:
        shop = Shop(mesh)
        proxy.tell("attached", WORKLOAD, ORDERS, [id_of(group["orders"])])
        proxy.tell("attached", "default/jobs", -1, [id_of(group["evil"])])
        evil.run(open_shop, (V4, shop.port))
        assert shop.call() == SQUATTED
        assert evil.run(takings) == []
        shop.forgive()


def test_same_user_of_another_group_at_a_more_specific_address_gets_no_connection(
    proxy: Proxy, backends: Backends
) -> None:
    with beside(proxy, backends) as (shop, orders, evil, _):
        orders.run(open_shop, (ANY_V4, shop.port), True)
        evil.run(open_shop, (V4, shop.port), True)
        assert {shop.call() for _ in range(40)} == {SQUATTED}
        assert evil.run(takings) == []
        shop.forgive()


@pytest.mark.parametrize("named", ["orders", "evil"])
def test_same_user_of_another_group_at_the_same_address_gets_no_octet(
    proxy: Proxy, backends: Backends, named: str
) -> None:
    """Two listening sockets on one port: whom the kernel names before the call is always the same one, and need not be who takes it."""
    with beside(proxy, backends) as (shop, orders, evil, group):
        open_both(shop, orders, evil, id_of(group[named]))
        outcomes = {shop.call() for _ in range(40)}
        assert outcomes == ({(200, b""), SQUATTED} if named == "orders" else {SQUATTED})
        until(lambda: bool(evil.run(takings)) == (named == "orders"), "what it took has ended")
        assert set(evil.run(takings)) <= {b""}
        shop.forgive()


@contextlib.contextmanager
def beside(proxy: Proxy, backends: Backends) -> Iterator[tuple[Shop, Actor, Actor, dict[str, Path]]]:
    """The service is known by its control group; another process of its user is in another one. Nothing listens yet."""
    with (
        groups("orders", "evil") as group,
        Actor(ORDERS, group["orders"]) as orders,
        Actor(ORDERS, group["evil"]) as evil,
        AttachedMesh(proxy, backends) as mesh,
    ):
        shop = Shop(mesh)
        proxy.tell("attached", WORKLOAD, -1, [id_of(group["orders"])])
        proxy.tell("attached", "default/jobs", -1, [id_of(group["evil"])])
        shop.put(2, limits=Limits(pool_size=0))
        shop.be_looked_at()
        yield shop, orders, evil, group


def open_both(shop: Shop, orders: Actor, evil: Actor, named: int) -> None:
    """Both listen, and the kernel, asked who does, names this control group: its hash, each network's own, takes the first or the second."""
    for first, second in (orders, evil), (evil, orders):
        for actor in first, second:
            actor.run(open_shop, (V4, shop.port), True)
        listener = shop.mesh.diag.listener(place_of(V4, shop.port))
        if listener is not None and listener.cgroup == named:
            return
        for actor in first, second:
            actor.run(close_listener)
    raise AssertionError("the kernel names nobody, or both by turns")


def test_squatter_that_comes_between_gets_no_octet(shop: Shop, orders: Actor, evil: Actor) -> None:
    """The port changes hands all the time while it is called."""
    shop.put(2, limits=Limits(pool_size=0))
    done = threading.Event()
    outcomes: set[tuple[int, bytes]] = set()

    def call() -> None:
        while not done.is_set():
            outcomes.add(shop.call())

    caller = threading.Thread(target=call)
    caller.start()
    try:
        for _ in range(60):
            for actor in orders, evil:
                actor.run(open_shop, (V4, shop.port))
                actor.run(close_listener)
    finally:
        done.set()
        caller.join()
    assert outcomes <= {(200, b""), FAILED, SQUATTED, (502, b"upstream-reset")}
    assert set(evil.run(takings)) <= {b""}
    shop.forgive()


def test_service_that_was_started_anew_is_reached_once_the_supervisor_has_looked(
    proxy: Proxy, backends: Backends
) -> None:
    with groups("old", "new") as group, Actor(ORDERS, group["new"]) as orders, AttachedMesh(proxy, backends) as mesh:
        shop = Shop(mesh)
        shop.put(2, limits=Limits(pool_size=0))
        orders.run(open_shop, (V4, shop.port))

        def attempt() -> None:
            proxy.tell("attached", WORKLOAD, -1, [id_of(group["old"])])
            mesh.overhear()
            began = time.monotonic()
            with socket.create_connection((ADDRESS, mesh.port), timeout=20) as sock:
                sock.sendall(REQUEST)
                mesh.hear("look")  # for the caller, whose group is not known either
                proxy.tell("looked")
                mesh.hear("look")
                proxy.tell("attached", WORKLOAD, -1, [id_of(group["new"])])
                proxy.tell("looked")
                try:
                    be_in_time(began)
                finally:
                    answer = read_head(sock)[0]
            assert answer.startswith(b"HTTP/1.1 200 ")

        in_time(attempt)
        assert shop.squatted() == 0


def test_service_of_a_group_that_nobody_looked_for_is_not_reached(proxy: Proxy, backends: Backends) -> None:
    with groups("old", "new") as group, Actor(ORDERS, group["new"]) as orders, AttachedMesh(proxy, backends) as mesh:
        shop = Shop(mesh)
        proxy.tell("attached", WORKLOAD, -1, [id_of(group["old"])])
        orders.run(open_shop, (V4, shop.port))
        assert shop.call() == FAILED
        assert (orders.run(takings), shop.squatted()) == ([], 0)


def test_service_that_accepts_only_with_the_first_octets_is_reached_by_its_user(shop: Shop, orders: Actor) -> None:
    orders.run(open_shop, (V4, shop.port), False, 30)
    assert shop.call()[0] == 200


@pytest.mark.parametrize("user", [ROOT, ORDERS])
def test_service_that_accepts_only_with_the_first_octets_is_reached_by_its_group_if_nobody_can_be_beside(
    proxy: Proxy, backends: Backends, user: int
) -> None:
    with groups("orders") as group, Actor(user, group["orders"]) as orders, AttachedMesh(proxy, backends) as mesh:
        shop = Shop(mesh)
        shop.put(2, limits=Limits(connect_timeout=0.2))
        proxy.tell("attached", WORKLOAD, -1, [id_of(group["orders"])])
        shop.be_looked_at()
        orders.run(open_shop, (V4, shop.port), False, 30)
        if user == ROOT:
            assert shop.call()[0] == 200
        else:
            assert shop.call() == FAILED
            assert "TCP_DEFER_ACCEPT" in proxy.complaints()
            shop.forgive()


@pytest.mark.parametrize("is_by_group", [False, True])
def test_service_whose_queue_is_full_is_waited_for(proxy: Proxy, backends: Backends, is_by_group: bool) -> None:
    with groups("orders") as group, Actor(ORDERS, group["orders"]) as orders, AttachedMesh(proxy, backends) as mesh:
        shop = Shop(mesh)
        shop.put(2, limits=Limits(connect_timeout=15.0))  # the kernel knocks again after 1, 3 and 7 seconds
        if is_by_group:
            proxy.tell("attached", WORKLOAD, -1, [id_of(group["orders"])])
            shop.be_looked_at()
        orders.run(fill_queue, (V4, shop.port))
        with socket.create_connection((ADDRESS, mesh.port), timeout=20) as sock:
            sock.sendall(REQUEST)
            until(lambda: proxy.get("/status")["requests_in_flight"] == 1, "it is being connected")
            orders.run(empty_queue)
            assert read_head(sock)[0].startswith(b"HTTP/1.1 200 ")


def test_squatter_of_tcp_gets_nothing(shop: Shop, evil: Actor) -> None:
    shop.put(2, protocol=Protocol.TCP)
    evil.run(open_shop, (V4, shop.port))
    with pytest.raises(ConnectionResetError), socket.create_connection((ADDRESS, shop.mesh.port), timeout=20) as sock:
        sock.sendall(b"hello")
        sock.recv(1)
    assert evil.run(takings) == []
    assert shop.proxy.metrics().sum("tulle_answers_total", reason="squatted") == 1
    shop.forgive()


def test_squatter_of_http2_gets_nothing(shop: Shop, evil: Actor) -> None:
    shop.put(2, speaks=Protocol.HTTP2)
    evil.run(open_shop, (V4, shop.port))
    assert shop.call() == SQUATTED
    assert evil.run(takings) == []
    shop.forgive()


def open_shop(state: State, at: tuple[str, int], beside: bool = False, defers: int = 0) -> None:
    """Serves each connection in a thread of its own; remembers what came on each."""
    listener = _listener(at, beside)
    if defers:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, defers)
    listener.listen(64)
    state["listener"] = listener
    state.setdefault("takings", [])
    _serve(state, listener)


def _listener(at: tuple[str, int], beside: bool) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in at[0] else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if beside:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(at)
    return listener


def _serve(state: State, listener: socket.socket) -> None:
    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    def serve(sock: socket.socket) -> None:
        state.setdefault("open", []).append(sock)
        came = b""
        while octets := sock.recv(65536):
            came += octets
            if came.endswith(b"\r\n\r\n"):
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        state["takings"].append(came)

    threading.Thread(target=accept, daemon=True).start()


def close_listener(state: State) -> None:
    """What is open stays open."""
    listener = state.pop("listener", None)
    if listener is not None:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def close_shop(state: State) -> None:
    """All of it."""
    close_listener(state)
    for sock in state.pop("open", []):
        sock.shutdown(socket.SHUT_RDWR)


def takings(state: State) -> list[bytes]:
    """What came on each connection that has ended."""
    return list(state["takings"])


def fault_of_opening(state: State, at: tuple[str, int], beside: bool) -> int:
    try:
        _listener(at, beside).close()
    except OSError as fault:
        return fault.errno or 0
    return 0


def fill_queue(state: State, at: tuple[str, int]) -> None:
    """Listens, and lets more knock than may wait."""
    listener = _listener(at, False)
    listener.listen(0)
    state["listener"] = listener
    state["takings"] = []
    state["knocks"] = [_knock(at) for _ in range(2)]


def _knock(at: tuple[str, int]) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(at)
    return sock


def empty_queue(state: State) -> None:
    for sock in state["knocks"]:
        sock.close()
    _serve(state, state["listener"])
