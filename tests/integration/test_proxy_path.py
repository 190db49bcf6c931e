"""Who is calling at a path: what the kernel noted when the connection was made, tried by real processes."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.attached import EVIL, ORDERS, ROOT, WEB, Actor, groups, id_of
from tests.support.attached_mesh import AttachedMesh, State, ask, be_in_time, become, close, in_time
from tests.support.attached_path import (
    ask_at,
    await_socket,
    become_root_of_nothing,
    connect_at,
    hand_on,
    leave_network,
    listening,
    make_at,
    move_other,
    open_directory,
    request_to,
    take_over,
)
from tests.support.proxy_harness import Backends, Proxy, echo, host, stopped, until
from tulle.kit.sock_diag import OVERFLOW_UID
from tulle.kit.unix_peer import peer_cgroup, peer_uid
from tulle.wire.snapshot import Limits

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="several users are needed: run as root")


class Place(NamedTuple):
    """A mesh whose forward proxy is at a path."""

    mesh: AttachedMesh
    path: str

    def ask(self, actor: Actor) -> int:
        """The status that this process gets on a new connection."""
        return ask_at(self.mesh, self.path, actor)

    def ask_on(self, actor: Actor, name: str) -> int:
        """The status that this process gets on one that it has; 0 where it is over."""
        return int(actor.run(ask, name, request_to(self.mesh)))

    def asked_by(self, source: str) -> float:
        """Requests that were taken for this caller's, whatever became of them."""
        return self.mesh.proxy.metrics().sum("tulle_requests_total", source=source)


@pytest.fixture
def place(proxy: Proxy, backends: Backends) -> Iterator[Place]:
    """`default/web` is the user WEB, `default/root` is root; both may call."""
    with AttachedMesh(proxy, backends) as mesh, listening(proxy) as path:
        mesh.serve(host(backends.serve(echo)))
        proxy.tell("attached", "default/web", WEB)
        proxy.tell("attached", "default/root", ROOT)
        yield Place(mesh, path)


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


def test_attached_user_is_known_and_another_is_nobody(place: Place, web: Actor, evil: Actor) -> None:
    assert (place.ask(web), place.ask(evil)) == (200, 403)
    assert (place.mesh.served("default/web"), place.mesh.denied()) == (1, 1)
    web.run(connect_at, "it", place.path)
    evil.run(connect_at, "it", place.path)
    until(
        lambda: {one["by"] for one in place.mesh.proxy.get("/connections")} == {"default/web", f"uid {EVIL}"},
        "it is told who is connected",
    )


def test_root_is_nobody_unless_it_is_attached(place: Place) -> None:
    with Actor(ROOT) as root:
        assert place.ask(root) == 200
        place.mesh.proxy.tell("detached", "default/root")
        assert place.ask(root) == 403


def test_proxy_without_any_privilege_knows_foreign_users(web: Actor, evil: Actor, backends: Backends) -> None:
    options = ("--uid", str(ORDERS), "--gid", str(ORDERS))
    with Proxy(options=options) as proxy, AttachedMesh(proxy, backends) as mesh, listening(proxy) as path:
        mesh.serve(host(backends.serve(echo)))
        proxy.tell("attached", "default/web", WEB)
        assert (ask_at(mesh, path, web), ask_at(mesh, path, evil)) == (200, 403)


def test_who_connected_counts_not_who_made_the_socket_nor_what_it_became(place: Place, web: Actor) -> None:
    with Actor(ROOT) as root:
        place.mesh.proxy.tell("detached", "default/root")
        root.run(make_at, "made as root")
        root.run(connect_at, "connected as root", place.path)
        root.run(become, WEB)
        root.run(connect_at, "made as root", place.path)
        assert (place.ask_on(root, "made as root"), place.ask_on(root, "connected as root")) == (200, 403)
    web.run(connect_at, "it", place.path)
    assert place.ask_on(web, "it") == 200


def test_socket_that_is_handed_on_is_who_connected_it(place: Place, web: Actor, evil: Actor) -> None:
    with open_directory() as directory:
        for giver, taker, status in (web, evil, 200), (evil, web, 403):
            desk = str(directory / f"{status}")
            taker.run(await_socket, desk)
            giver.run(connect_at, desk, place.path)
            giver.run(hand_on, desk, desk)
            taker.run(take_over, desk)
            assert place.ask_on(taker, desk) == status


@pytest.mark.parametrize("ends", [False, True], ids=["closed", "ended"])
def test_caller_that_is_gone_before_it_is_accepted_is_itself(place: Place, web: Actor, evil: Actor, ends: bool) -> None:
    with stopped(place.mesh.proxy):
        for actor in web, evil:
            actor.run(connect_at, "it", place.path, request_to(place.mesh))
            if ends:
                actor.end()
            else:
                actor.run(close, "it")
    until(lambda: place.asked_by("default/web") == 1 and place.asked_by("anonymous") == 1, "both are told apart")
    assert place.asked_by("default/root") == 0


def test_root_of_a_user_namespace_of_its_own_is_its_real_user(place: Place, web: Actor, evil: Actor) -> None:
    for actor in web, evil:
        actor.run(become_root_of_nothing)
    assert (place.ask(web), place.ask(evil)) == (200, 403)


def test_caller_of_another_network_is_itself(place: Place) -> None:
    with Actor(WEB, prepare=leave_network) as web, Actor(EVIL, prepare=leave_network) as evil:
        assert (place.ask(web), place.ask(evil)) == (200, 403)


def test_users_that_a_user_namespace_cannot_name_have_their_group_alone(evil: Actor) -> None:
    with groups("web") as group, Actor(WEB, group["web"]) as web, open_directory() as directory:
        path = str(directory / "it")
        evil.run(await_socket, path)
        web.run(connect_at, "it", path)
        evil.run(accept, "it")
        assert evil.run(peer, "it") == (WEB, id_of(group["web"]))
        evil.run(become_root_of_nothing)
        assert evil.run(peer, "it") == (OVERFLOW_UID, id_of(group["web"]))


def test_connection_of_what_is_attached_no_more_is_cut(place: Place, web: Actor) -> None:
    web.run(connect_at, "it", place.path)
    assert place.ask_on(web, "it") == 200
    place.mesh.proxy.tell("detached", "default/web")
    assert place.ask_on(web, "it") == 0
    assert place.ask(web) == 403


def test_limit_of_connections_holds_for_each_caller(place: Place, web: Actor, evil: Actor) -> None:
    place.mesh.serve(host(place.mesh.backends.serve(echo)), generation=2, limits=Limits(connections_per_caller=2))
    for actor, source, status in (evil, "anonymous", 403), (web, "default/web", 200):
        for name in "12":
            actor.run(connect_at, name, place.path)
            assert place.ask_on(actor, name) == status
        actor.run(connect_at, "3", place.path)
        assert place.ask_on(actor, "3") == 0
        refused = place.mesh.proxy.metrics().sum("tulle_connections_refused_total", source=source, cause="caller-limit")
        assert refused == 1


class Grouped(NamedTuple):
    """`default/web` is user WEB in one control group, `default/jobs` another group, `default/root` every root."""

    place: Place
    groups: dict[str, Path]


@pytest.fixture
def grouped(place: Place) -> Iterator[Grouped]:
    with groups("web", "jobs", "none") as made:
        tell = place.mesh.proxy.tell
        tell("detached", "default/web")
        tell("attached", "default/web", WEB, [id_of(made["web"])])
        tell("attached", "default/jobs", -1, [id_of(made["jobs"])])
        yield Grouped(place, made)


def test_user_and_group_count_before_the_group_and_that_before_the_user(grouped: Grouped) -> None:
    place, made = grouped
    with (
        Actor(WEB, made["web"]) as web,
        Actor(EVIL, made["web"]) as same_group,
        Actor(WEB, made["jobs"]) as job,
        Actor(ROOT, made["jobs"]) as root_of_jobs,
    ):
        assert (place.ask(web), place.ask(job), place.ask(root_of_jobs)) == (200, 403, 403)
        assert (place.mesh.served("default/web"), place.mesh.denied("default/jobs")) == (1, 2)
        same_group.run(connect_at, "it", place.path)
        assert place.ask_on(same_group, "it") == 403
        assert place.mesh.denied() == 1


def test_group_counts_where_the_process_is_as_it_is_accepted_and_then_stays(grouped: Grouped) -> None:
    place, made = grouped
    with Actor(WEB, made["web"]) as web, Actor(WEB, made["jobs"]) as job, Actor(ROOT) as root:
        web.run(connect_at, "before", place.path)
        assert place.ask_on(web, "before") == 200
        with stopped(place.mesh.proxy):
            for actor in web, job:
                actor.run(connect_at, "on the way", place.path)
            root.run(move_other, web.pid, made["jobs"])
            root.run(move_other, job.pid, made["web"])
        assert (place.ask_on(web, "on the way"), place.ask_on(job, "on the way")) == (403, 200)
        assert place.ask_on(web, "before") == 200


def test_process_that_has_ended_is_of_the_group_where_it_ended(grouped: Grouped) -> None:
    place, made = grouped
    with stopped(place.mesh.proxy):
        for uid, group in (WEB, "web"), (EVIL, "jobs"):
            with Actor(uid, made[group]) as actor:
                actor.run(connect_at, "it", place.path, request_to(place.mesh))
    until(lambda: place.asked_by("default/web") == 1 and place.asked_by("default/jobs") == 1, "both are known")


def forget(grouped: Grouped) -> None:
    """Nothing is known, or said, of what was looked at before; `default/web` is in its first group."""
    mesh, made = grouped.place.mesh, grouped.groups
    mesh.proxy.tell("detached", "default/jobs")
    mesh.proxy.tell("attached", "default/jobs", -1, [id_of(made["jobs"])])
    mesh.proxy.tell("attached", "default/web", WEB, [id_of(made["web"])])
    mesh.overhear()


def test_unit_that_was_started_anew_is_known_once_the_supervisor_has_looked(grouped: Grouped) -> None:
    place, made = grouped
    mesh = place.mesh

    def attempt() -> None:
        before = mesh.served("default/web"), mesh.denied()
        with Actor(WEB, made["none"]) as anew, Actor(EVIL, made["none"]) as other:
            began = time.monotonic()
            for actor in anew, other:
                actor.run(connect_at, "it", place.path, request_to(mesh))
            try:
                mesh.hear("look")
                mesh.proxy.tell("attached", "default/web", WEB, [id_of(made["none"])])
                mesh.proxy.tell("looked")
                be_in_time(began)
            finally:
                found = anew.run(status, "it"), other.run(status, "it")
        assert found == (200, 403)
        assert (mesh.served("default/web"), mesh.denied()) == (before[0] + 1, before[1] + 1)

    in_time(attempt, lambda: forget(grouped))


def test_stranger_is_looked_for_once_and_then_is_its_user(grouped: Grouped) -> None:
    place, made = grouped
    mesh = place.mesh

    def attempt() -> None:
        with Actor(ROOT, made["none"]) as root:
            began = time.monotonic()
            root.run(connect_at, "it", place.path, request_to(mesh))
            try:
                mesh.hear("look")
                mesh.proxy.tell("looked")
                be_in_time(began)
            finally:
                found = root.run(status, "it")
            assert (found, place.ask(root)) == (200, 200)
            assert mesh.overhear() == []

    in_time(attempt, lambda: forget(grouped))


def test_caller_whose_look_is_not_answered_is_nobody_in_the_end(grouped: Grouped) -> None:
    place, made = grouped
    with Actor(ROOT, made["none"]) as root:
        root.run(connect_at, "it", place.path, request_to(place.mesh))
        place.mesh.hear("look")
        assert root.run(status, "it") == 403


def test_more_of_one_user_than_may_wait_are_nobody_at_once(grouped: Grouped) -> None:
    place, made = grouped
    mesh = place.mesh

    def attempt() -> None:
        before = mesh.denied()
        with Actor(EVIL, made["none"]) as other:
            with stopped(mesh.proxy):
                for number in range(40):
                    other.run(connect_at, f"{number}", place.path, request_to(mesh))
                began = time.monotonic()
            try:
                mesh.hear("look")
                until(lambda: mesh.denied() >= before + 8, "those beyond 32 are answered before anybody has looked")
                at_once = mesh.denied() - before
                be_in_time(began)
            finally:
                mesh.proxy.tell("looked")
                until(lambda: mesh.denied() == before + 40, "the others are answered")
        assert at_once == 8

    in_time(attempt, lambda: forget(grouped))


def accept(state: State, name: str) -> None:
    state[name], _ = state["desk"].accept()


def peer(state: State, name: str) -> tuple[int, int]:
    sock: socket.socket = state[name]
    return peer_uid(sock), peer_cgroup(sock)


def status(state: State, name: str) -> int:
    return int(state[name].recv(65536).split()[1])
