"""Who is calling, on the box itself: every way to be taken for another that is known, tried by real processes."""

import contextlib
import ctypes
import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.attached import EVIL, ORDERS, ROOT, WEB, Actor, groups, id_of
from tests.support.attached_mesh import (
    ADDRESS,
    MAPPED,
    REQUEST,
    AttachedMesh,
    State,
    ask,
    become,
    close,
    connect,
    dial,
    make,
    receive_octets,
    reset,
)
from tests.support.proxy_harness import Backends, Proxy, echo, host, stopped, until
from tools.ports import free_port
from tulle.kit.netlink import bring_loopback_up, open_sock_diag, redirect_tcp
from tulle.kit.sock_diag import (
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    LISTEN,
    OVERFLOW_UID,
    SockDiag,
    place_of,
)
from tulle.proxy.arrival import Register
from tulle.proxy.attest import Attestor
from tulle.proxy.facts import Facts
from tulle.proxy.listen import original_destination
from tulle.proxy.loop import Dispatcher
from tulle.wire.plan import VIRTUAL_NETWORK
from tulle.wire.snapshot import Protocol

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="several users are needed: run as root")

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
MPTCP = 262
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def web() -> Iterator[Actor]:
    """The user that is attached."""
    with Actor(WEB) as actor:
        yield actor


@pytest.fixture
def evil() -> Iterator[Actor]:
    """Another user."""
    with Actor(EVIL) as actor:
        yield actor


@pytest.fixture
def mesh(web: Actor, evil: Actor, proxy: Proxy, backends: Backends) -> Iterator[AttachedMesh]:
    """`default/web` is the user WEB, `default/root` is root; both may call."""
    with AttachedMesh(proxy, backends) as made:
        made.serve(host(backends.serve(echo)))
        proxy.tell("attached", "default/web", WEB)
        proxy.tell("attached", "default/root", ROOT)
        yield made


class Way(NamedTuple):
    """How a caller speaks to the mesh."""

    to: tuple[str, int]
    request: bytes
    any: str
    """Any address of that family."""


@pytest.fixture(params=["IPv4", "IPv4 mapped to IPv6", "IPv6"])
def way(mesh: AttachedMesh, request: pytest.FixtureRequest) -> Way:
    """IPv6 of its own leads to the forward proxy alone: virtual addresses are of IPv4."""
    match request.param:
        case "IPv4":
            return Way((ADDRESS, mesh.port), REQUEST, "0.0.0.0")
        case "IPv4 mapped to IPv6":
            return Way((MAPPED, mesh.port), REQUEST, "::")
        case _:
            asked = f"GET http://orders.default:{mesh.port}/ HTTP/1.1\r\nhost: orders.default:{mesh.port}\r\n\r\n"
            return Way(("::1", mesh.forward6()), asked.encode(), "::")


def test_attached_user_is_known_by_every_family_and_another_is_nobody(
    mesh: AttachedMesh, way: Way, web: Actor, evil: Actor
) -> None:
    for actor, status in (web, 200), (evil, 403):
        actor.run(connect, "it", way.to)
        assert actor.run(ask, "it", way.request) == status
    assert (mesh.served("default/web"), mesh.denied()) == (1, 1)


def to(mesh: AttachedMesh) -> tuple[str, int]:
    return ADDRESS, mesh.port


def test_attached_user_is_known_and_another_is_nobody(mesh: AttachedMesh, web: Actor, evil: Actor) -> None:
    assert mesh.ask(web) == 200
    assert mesh.ask(evil) == 403
    assert (mesh.served("default/web"), mesh.denied()) == (1, 1)
    web.run(connect, "it", to(mesh))
    evil.run(connect, "it", to(mesh))
    until(
        lambda: {one["by"] for one in mesh.proxy.get("/connections")} == {"default/web", f"uid {EVIL}"},
        "it is told who is connected",
    )


def test_connection_is_looked_up_once_however_many_requests_it_brings(mesh: AttachedMesh, web: Actor) -> None:
    web.run(connect, "it", to(mesh))
    assert web.run(ask, "it") == 200
    mesh.proxy.deafen_kernel()
    assert [web.run(ask, "it") for _ in range(30)] == [200] * 30
    assert mesh.ask(web) == 403
    assert (mesh.served("default/web"), mesh.denied()) == (31, 1)


def test_root_is_nobody_unless_it_is_attached(mesh: AttachedMesh) -> None:
    with Actor(ROOT) as root:
        assert mesh.ask(root) == 200
        mesh.proxy.tell("detached", "default/root")
        assert mesh.ask(root) == 403


def test_anonymous_caller_is_let_in_by_a_policy_without_callers(mesh: AttachedMesh, evil: Actor) -> None:
    mesh.serve(host(mesh.backends.serve(echo)), generation=2, anonymous=True)
    assert mesh.ask(evil) == 200
    assert mesh.served("anonymous") == 1


def test_caller_that_has_closed_is_nobody_not_root(mesh: AttachedMesh, way: Way, evil: Actor) -> None:
    with stopped(mesh.proxy):
        source = evil.run(connect, "it", way.to, 0, way.request)
        evil.run(close, "it")
        until(
            lambda: mesh.seen_by_kernel(source, way.to).state == FIN_WAIT2, "the kernel keeps a remainder of the socket"
        )
        naive = mesh.seen_by_kernel(source, way.to)
        assert (naive.uid, naive.inode, naive.is_same) == (ROOT, 0, True)
    mesh.until_denied()


def test_caller_that_has_closed_with_octets_on_their_way_is_nobody(mesh: AttachedMesh, way: Way, web: Actor) -> None:
    with stopped(mesh.proxy):
        source = web.run(send_and_leave, way)
        naive = mesh.seen_by_kernel(source, way.to)
        assert (naive.state, naive.inode) == (FIN_WAIT1, 0)
    mesh.until_denied()


def test_half_closed_caller_is_known(mesh: AttachedMesh, web: Actor, evil: Actor) -> None:
    mesh.serve(host(mesh.backends.serve(answer_at_the_end)), generation=2, protocol=Protocol.TCP)
    for actor, answer in (web, b"all of it"), (evil, b"reset"):
        with stopped(mesh.proxy):
            source = actor.run(connect, "it", to(mesh), 0, b"question")
            actor.run(half_close, "it")
            until(lambda at=source: mesh.seen_by_kernel(at).state == FIN_WAIT2, "its half is shut")  # type: ignore[misc]
        assert actor.run(receive_octets, "it") == answer


def test_listening_socket_at_the_callers_port_lends_no_name(
    mesh: AttachedMesh, way: Way, web: Actor, evil: Actor
) -> None:
    with stopped(mesh.proxy):
        source = evil.run(connect, "it", way.to, free_port(), way.request)
        evil.run(reset, "it")
        web.run(listen, "trap", source)
        naive = mesh.seen_by_kernel(source, way.to)
        assert (naive.uid, naive.state, naive.is_same) == (WEB, LISTEN, False)
    mesh.until_denied()
    assert mesh.ask(web) == 200


def test_listening_socket_of_any_address_lends_no_name(mesh: AttachedMesh, way: Way, web: Actor, evil: Actor) -> None:
    with stopped(mesh.proxy):
        source = evil.run(connect, "it", way.to, free_port(), way.request)
        evil.run(reset, "it")
        web.run(listen, "trap", (way.any, source[1]))
        assert mesh.seen_by_kernel(source, way.to).uid == WEB
    mesh.until_denied()


def test_port_that_another_takes_over_after_a_reset_lends_no_name(
    mesh: AttachedMesh, way: Way, web: Actor, evil: Actor
) -> None:
    with stopped(mesh.proxy):
        source = evil.run(connect, "it", way.to, free_port(), way.request)
        evil.run(reset, "it")
        assert web.run(connect, "it", way.to, source[1]) == source
        naive = mesh.seen_by_kernel(source, way.to)
        assert (naive.uid, naive.state, naive.is_same) == (WEB, ESTABLISHED, True)
        assert naive.inode
    mesh.until_denied()
    assert web.run(ask, "it", way.request) == 200
    assert (mesh.served("default/web"), mesh.backends.connections) == (1, 1)


def test_port_that_another_takes_over_after_a_close_lends_no_name(
    mesh: AttachedMesh, way: Way, web: Actor, evil: Actor
) -> None:
    with stopped(mesh.proxy):
        source = evil.run(connect, "it", way.to, free_port(), way.request)
        evil.run(close, "it")
        until(lambda: bool(web.run(try_connect, "it", way.to, source[1])), "the port may be used again")
        naive = mesh.seen_by_kernel(source, way.to)
        assert (naive.uid, naive.state, naive.is_same) == (WEB, ESTABLISHED, True)
    mesh.until_denied()
    assert web.run(ask, "it", way.request) == 200


def test_caller_bound_to_a_device_is_known(mesh: AttachedMesh, web: Actor, evil: Actor) -> None:
    for actor, status in (web, 200), (evil, 403):
        actor.run(connect, "it", to(mesh), 0, b"", b"lo")
        assert actor.run(ask, "it") == status


def test_root_of_its_own_user_namespace_is_nobody(mesh: AttachedMesh, evil: Actor) -> None:
    evil.run(become_root_of_nothing)
    assert evil.run(uid) == 0
    assert mesh.ask(evil) == 403


def test_user_counts_that_made_the_socket_not_the_one_who_uses_it(mesh: AttachedMesh) -> None:
    with Actor(ROOT) as changes:
        changes.run(seteuid, WEB)
        changes.run(make, "webs")
        changes.run(seteuid, ROOT)
        changes.run(become, EVIL)
        changes.run(make, "evils")
        for name, status in ("webs", 200), ("evils", 403):
            changes.run(dial, name, to(mesh))
            assert changes.run(ask, name) == status
        assert changes.run(chown, "evils", WEB) == errno.EPERM
    assert mesh.served("default/web") == 1


def test_caller_by_mptcp_is_known(mesh: AttachedMesh, web: Actor, evil: Actor) -> None:
    for actor, status in (web, 200), (evil, 403):
        actor.run(make, "it", MPTCP)
        actor.run(dial, "it", to(mesh))
        assert actor.run(ask, "it") == status


def test_proxy_without_any_privilege_knows_foreign_users(web: Actor, evil: Actor, backends: Backends) -> None:
    options = ("--uid", str(ORDERS), "--gid", str(ORDERS))
    with Proxy(options=options) as proxy, AttachedMesh(proxy, backends) as mesh:
        mesh.serve(host(backends.serve(echo)))
        proxy.tell("attached", "default/web", WEB)
        assert (mesh.ask(web), mesh.ask(evil)) == (200, 403)


def test_caller_of_another_network_is_nobody(web: Actor, backends: Backends) -> None:
    with Proxy(diag=in_another_network()) as proxy, AttachedMesh(proxy, backends) as mesh:
        mesh.serve(host(backends.serve(echo)))
        proxy.tell("attached", "default/web", WEB)
        assert mesh.ask(web) == 403


def test_caller_behind_a_redirect_is_known_by_what_it_dialled_and_else_nobody() -> None:
    found: list[str] = []

    def behind_redirect() -> None:
        assert LIBC.unshare(CLONE_NEWNET) == 0  # this thread alone
        bring_loopback_up()
        dispatcher = Dispatcher(print)
        facts = Facts(sees_all_users=True)
        facts.tell("default/root", ROOT, None)
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            open_sock_diag() as netlink,
            contextlib.closing(dispatcher.epoll),
        ):
            redirect_tcp(VIRTUAL_NETWORK, listener.getsockname()[1])
            attestor = Attestor(dispatcher, Register(), SockDiag(netlink), facts, lambda: False)
            with socket.create_connection((ADDRESS, 80), timeout=20):
                accepted, peer = listener.accept()
                with accepted:
                    for ours in original_destination(accepted), listener.getsockname():
                        assert ours
                        attestor.attest(
                            accepted, place_of(*peer), place_of(*ours), lambda _, who: found.append(who.workload)
                        )

    thread = threading.Thread(target=behind_redirect)
    thread.start()
    thread.join()
    assert found == ["default/root", ""]


def test_control_group_counts_where_the_socket_was_made(proxy: Proxy, backends: Backends) -> None:
    with (
        groups("web", "evil") as group,
        Actor(WEB, group["web"]) as web,
        Actor(WEB, group["evil"]) as evil,
        Actor(ROOT) as root,
        AttachedMesh(proxy, backends) as mesh,
    ):
        mesh.serve(host(backends.serve(echo)))
        proxy.tell("attached", "default/web", -1, [id_of(group["web"])])
        proxy.tell("attached", "default/root", ROOT, [id_of(group["evil"])])  # its groups are known, and another user's
        assert (mesh.ask(web), mesh.ask(evil)) == (200, 403)
        web.run(make, "before")
        evil.run(make, "before")
        root.run(move_other, web.pid, group["evil"])
        root.run(move_other, evil.pid, group["web"])
        for actor, status in (web, 200), (evil, 403):
            actor.run(dial, "before", to(mesh))
            assert actor.run(ask, "before") == status
        assert (mesh.ask(web), mesh.ask(evil)) == (403, 200)


def test_same_user_of_another_control_group_is_nobody(proxy: Proxy, backends: Backends) -> None:
    with (
        groups("web", "evil") as group,
        Actor(WEB, group["web"]) as web,
        Actor(WEB, group["evil"]) as same_user,
        Actor(EVIL, group["web"]) as same_group,
        AttachedMesh(proxy, backends) as mesh,
    ):
        mesh.serve(host(backends.serve(echo)))
        proxy.tell("attached", "default/web", WEB, [id_of(group["web"])])
        proxy.tell("attached", "default/jobs", -1, [id_of(group["evil"])])
        assert (mesh.ask(web), mesh.ask(same_user), mesh.ask(same_group)) == (200, 403, 403)
        assert mesh.denied("default/jobs") == 1


def test_users_that_a_user_namespace_cannot_name_are_told_by_one_opened_before(web: Actor) -> None:
    with (
        Actor(EVIL) as ordinary,
        socket.create_server(("127.0.0.1", 0)) as listener,
        groups("web") as group,
        Actor(WEB, group["web"]) as grouped,
    ):
        at = listener.getsockname()
        ordinary.run(open_diag, "before")
        ordinary.run(become_root_of_nothing)
        ordinary.run(open_diag, "after")
        source = web.run(connect, "it", at)
        assert ordinary.run(owner_uid_and_group, "before", source, at)[0] == WEB
        assert ordinary.run(owner_uid_and_group, "after", source, at)[0] == OVERFLOW_UID
        source = grouped.run(connect, "it", at)
        assert ordinary.run(owner_uid_and_group, "before", source, at) == (WEB, id_of(group["web"]))
        assert ordinary.run(owner_uid_and_group, "after", source, at) == (OVERFLOW_UID, id_of(group["web"]))


def answer_at_the_end(sock: socket.socket) -> None:
    """Answers once all has been said."""
    while sock.recv(4096):
        pass
    sock.sendall(b"all of it")


def half_close(state: State, name: str) -> None:
    state[name].shutdown(socket.SHUT_WR)


def listen(state: State, name: str, at: tuple[str, int]) -> None:
    is_v6 = ":" in at[0]
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    state[name] = socket.create_server(at, family=family, dualstack_ipv6=is_v6)


def try_connect(state: State, name: str, address: tuple[str, int], source: int) -> bool:
    try:
        connect(state, name, address, source)
    except OSError:
        return False
    return True


def send_and_leave(state: State, way: Way) -> tuple[str, int]:
    source = connect(state, "it", way.to, 0, way.request)
    state["it"].setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            state["it"].send(bytes(1 << 16))
    state["it"].close()
    return source


def become_root_of_nothing(state: State) -> None:
    """Root in a user namespace of its own."""
    outside = os.getuid()
    LIBC.prctl(4, 1, 0, 0, 0)  # dumpable again, or /proc/self is root's
    assert LIBC.unshare(CLONE_NEWUSER) == 0, os.strerror(ctypes.get_errno())
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {outside} 1")


def uid(state: State) -> int:
    return os.getuid()


def seteuid(state: State, uid: int) -> None:
    os.seteuid(uid)


def chown(state: State, name: str, uid: int) -> int:
    try:
        os.fchown(state[name].fileno(), uid, -1)
    except OSError as fault:
        return fault.errno or 0
    return 0


def move_other(state: State, pid: int, group: Path) -> None:
    (group / "cgroup.procs").write_text(str(pid))


def open_diag(state: State, name: str) -> None:
    state[name] = SockDiag(open_sock_diag())


def owner_uid_and_group(
    state: State, name: str, theirs: tuple[str, int], ours: tuple[str, int]
) -> tuple[int, int] | None:
    found = state[name].connection(place_of(*theirs), place_of(*ours))
    return (found.uid, found.cgroup) if found is not None else None


def in_another_network() -> socket.socket:
    """A netlink socket of a network that nobody is in."""
    opened: list[socket.socket] = []

    def leave() -> None:
        assert LIBC.unshare(CLONE_NEWNET) == 0  # this thread alone
        opened.append(open_sock_diag())

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    return opened[0]
