"""Attested callers while units are started anew, facts change, and many come at once."""

import os
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.support.attached import EVIL, ROOT, WEB, Actor, groups, id_of
from tests.support.attached_mesh import (
    ADDRESS,
    REQUEST,
    AttachedMesh,
    State,
    ask,
    be_in_time,
    connect,
    in_time,
    receive_octets,
    status_of,
)
from tests.support.proxy_harness import Backends, Hold, Proxy, echo, host, stopped, until
from tulle.wire.snapshot import Limits, Protocol

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="several users are needed: run as root")


class Unit(NamedTuple):
    """A service of which the proxy knows an older control group."""

    mesh: AttachedMesh
    old: int
    new: int
    actor: Actor
    """In the new one."""
    other: Actor
    """In a third."""


@pytest.fixture
def unit(proxy: Proxy, backends: Backends) -> Iterator[Unit]:
    """`default/web` was started anew, and the proxy has not been told."""
    with (
        groups("old", "new", "other") as group,
        Actor(WEB, group["new"]) as actor,
        Actor(EVIL, group["other"]) as other,
        AttachedMesh(proxy, backends) as mesh,
    ):
        mesh.serve(host(backends.serve(echo)))
        proxy.tell("attached", "default/web", -1, [id_of(group["old"])])
        yield Unit(mesh, id_of(group["old"]), id_of(group["new"]), actor, other)


def forget(unit: Unit) -> None:
    """No stranger is remembered, and the service is in its older group."""
    for groups_now in [unit.old, 1], [unit.old]:
        unit.mesh.proxy.tell("attached", "default/web", -1, groups_now)
    unit.mesh.overhear()


def look_for(unit: Unit, who: Actor, groups_now: list[int] | None = None) -> int:
    """What it is answered when the supervisor looks for it and finds that the service is in these groups, or nothing new. Raises TooLate."""
    began = time.monotonic()
    who.run(send, "it", (ADDRESS, unit.mesh.port))
    try:
        be_looked_for(unit, groups_now)
        be_in_time(began)
    finally:
        status: int = who.run(receive, "it")
    return status


def be_looked_for(unit: Unit, groups_now: list[int] | None = None) -> None:
    """The proxy asks the supervisor, which finds that."""
    unit.mesh.hear("look")
    if groups_now is not None:
        unit.mesh.proxy.tell("attached", "default/web", -1, groups_now)
    unit.mesh.proxy.tell("looked")


def test_unit_that_was_started_anew_is_known_once_the_supervisor_has_looked(unit: Unit) -> None:
    def attempt() -> None:
        assert look_for(unit, unit.actor, [unit.new]) == 200
        assert unit.mesh.ask(unit.actor) == 200
        assert unit.mesh.overhear() == []

    in_time(attempt, lambda: forget(unit))


def test_stranger_is_looked_for_once(unit: Unit) -> None:
    def attempt() -> None:
        assert look_for(unit, unit.other) == 403
        assert unit.mesh.ask(unit.other) == 403
        assert unit.mesh.overhear() == []

    in_time(attempt, lambda: forget(unit))


def test_stranger_is_looked_for_again_when_the_facts_have_changed(unit: Unit) -> None:
    mesh = unit.mesh
    for groups_now in [unit.old], [unit.old, 1]:
        mesh.proxy.tell("attached", "default/web", -1, groups_now)
        unit.other.run(send, "it", (ADDRESS, mesh.port))
        be_looked_for(unit)
        assert unit.other.run(receive, "it") == 403


def test_caller_whose_look_is_not_answered_is_nobody_in_the_end(unit: Unit) -> None:
    unit.actor.run(send, "it", (ADDRESS, unit.mesh.port))
    unit.mesh.hear("look")
    assert unit.actor.run(receive, "it") == 403


def test_user_says_who_it_is_only_once_its_group_is_known_to_be_nobodys(unit: Unit) -> None:
    mesh = unit.mesh
    mesh.proxy.tell("attached", "default/jobs", EVIL)
    unit.other.run(send, "it", (ADDRESS, mesh.port))
    mesh.hear("look")
    assert unit.other.run(receive, "it") == 403
    assert (mesh.denied(), mesh.denied("default/jobs")) == (1, 0)
    mesh.proxy.tell("looked")  # too late for that one

    def attempt() -> None:
        before = mesh.denied(), mesh.denied("default/jobs")
        assert look_for(unit, unit.other) == 403
        assert (mesh.denied(), mesh.denied("default/jobs")) == (before[0], before[1] + 1)

    in_time(attempt, lambda: forget(unit))


def test_one_look_answers_all_who_wait(unit: Unit) -> None:
    mesh = unit.mesh

    def attempt() -> None:
        with stopped(mesh.proxy):
            for number in range(8):
                unit.actor.run(send, f"{number}", (ADDRESS, mesh.port))
            unit.other.run(send, "it", (ADDRESS, mesh.port))
            began = time.monotonic()
        try:
            be_looked_for(unit, [unit.new])
            be_in_time(began)
        finally:
            answers = [unit.actor.run(receive, f"{number}") for number in range(8)]
            other = unit.other.run(receive, "it")
        assert answers == [200] * 8
        assert other == 403
        assert mesh.overhear().count("look") <= 1  # for who came after the first was sent

    in_time(attempt, lambda: forget(unit))


def test_more_of_one_user_than_may_wait_are_nobody_at_once(unit: Unit) -> None:
    mesh = unit.mesh

    def attempt() -> None:
        before = mesh.denied()
        with stopped(mesh.proxy):
            for number in range(40):
                unit.other.run(send, f"{number}", (ADDRESS, mesh.port))
            unit.actor.run(send, "it", (ADDRESS, mesh.port))
            began = time.monotonic()
        try:
            mesh.hear("look")
            until(lambda: mesh.denied() >= before + 8, "those beyond 32 are answered before anybody has looked")
            at_once = mesh.denied() - before
            mesh.proxy.tell("attached", "default/web", -1, [unit.new])
            mesh.proxy.tell("looked")
            be_in_time(began)
        finally:
            status = unit.actor.run(receive, "it")
            until(lambda: mesh.denied() >= before + 40, "the others are answered")
        assert at_once == 8
        assert status == 200
        assert mesh.denied() == before + 40

    in_time(attempt, lambda: forget(unit))


def test_caller_that_left_while_it_waited_is_nobody(unit: Unit) -> None:
    mesh = unit.mesh
    unit.actor.run(send, "it", (ADDRESS, mesh.port))
    mesh.hear("look")
    unit.actor.end()
    mesh.proxy.tell("attached", "default/web", -1, [unit.new])
    mesh.proxy.tell("looked")
    until(lambda: mesh.denied() == 1, "it is refused")
    assert mesh.served("default/web") == 0


def test_nothing_is_looked_for_where_nobody_is_attached_by_a_group(unit: Unit) -> None:
    unit.mesh.proxy.tell("attached", "default/web", WEB)
    assert (unit.mesh.ask(unit.actor), unit.mesh.ask(unit.other)) == (200, 403)
    assert unit.mesh.overhear().count("look") == 0


def test_connections_of_what_is_attached_no_more_are_cut(unit: Unit) -> None:
    mesh = unit.mesh
    mesh.proxy.tell("attached", "default/web", -1, [unit.new])
    unit.actor.run(connect, "it", (ADDRESS, mesh.port))
    assert unit.actor.run(ask, "it") == 200
    mesh.proxy.tell("detached", "default/web")
    assert unit.actor.run(ask, "it") == 0
    assert mesh.ask(unit.actor) == 403


def test_request_in_flight_of_what_is_attached_no_more_is_refused(unit: Unit, backends: Backends) -> None:
    mesh, hold = unit.mesh, Hold()
    mesh.serve(host(backends.serve(hold)), generation=2)
    mesh.proxy.tell("attached", "default/web", -1, [unit.new])
    unit.actor.run(send, "it", (ADDRESS, mesh.port))
    until(lambda: mesh.proxy.get("/status")["requests_in_flight"] == 1, "the request is served")
    mesh.proxy.tell("detached", "default/web")
    assert unit.actor.run(receive, "it") == 403
    hold.let_go()


def test_tcp_of_what_is_attached_no_more_is_cut(unit: Unit, backends: Backends) -> None:
    mesh = unit.mesh
    mesh.serve(host(backends.serve(repeat)), generation=2, protocol=Protocol.TCP)
    mesh.proxy.tell("attached", "default/web", -1, [unit.new])
    unit.actor.run(connect, "it", (ADDRESS, mesh.port), 0, b"hello")
    assert unit.actor.run(receive_octets, "it") == b"hello"
    mesh.proxy.tell("detached", "default/web")
    assert unit.actor.run(receive_octets, "it") == b"reset"


def test_silent_connection_of_what_is_attached_no_more_goes_on_as_nobodys(unit: Unit) -> None:
    mesh = unit.mesh
    mesh.proxy.tell("attached", "default/web", -1, [unit.new])
    unit.actor.run(connect, "it", (ADDRESS, mesh.port))
    until(lambda: [one["by"] for one in mesh.proxy.get("/connections")] == ["default/web"], "it is accepted")
    with stopped(mesh.proxy):
        mesh.proxy.tell("detached", "default/web")
        unit.actor.run(send_more, "it")
    assert unit.actor.run(receive, "it") == 403


def test_connection_of_a_group_that_is_no_more_stays(unit: Unit) -> None:
    mesh = unit.mesh
    mesh.proxy.tell("attached", "default/web", -1, [unit.new])
    unit.actor.run(connect, "it", (ADDRESS, mesh.port))
    assert unit.actor.run(ask, "it") == 200
    mesh.proxy.tell("attached", "default/web", -1, [])
    assert unit.actor.run(ask, "it") == 200


def test_connection_of_a_group_that_is_anothers_now_is_cut(unit: Unit) -> None:
    mesh = unit.mesh
    mesh.proxy.tell("attached", "default/web", -1, [unit.new])
    unit.actor.run(connect, "it", (ADDRESS, mesh.port))
    assert unit.actor.run(ask, "it") == 200
    mesh.proxy.tell("attached", "default/jobs", -1, [unit.new])
    assert unit.actor.run(ask, "it") == 0


def test_anonymous_users_are_limited_each_by_themselves(unit: Unit, backends: Backends) -> None:
    mesh = unit.mesh
    mesh.serve(host(backends.serve(echo)), generation=2, limits=Limits(connections_per_caller=2))
    mesh.proxy.tell("attached", "default/web", -1, [unit.new])
    mesh.proxy.tell("attached", "default/jobs", ROOT)
    mesh.proxy.tell("detached", "default/jobs")
    unit.other.run(send, "first", (ADDRESS, mesh.port))
    mesh.hear("look")
    mesh.proxy.tell("looked")
    assert unit.other.run(ask, "first", b"") == 403
    unit.other.run(connect, "second", (ADDRESS, mesh.port))
    assert unit.other.run(ask, "second") == 403
    unit.other.run(connect, "third", (ADDRESS, mesh.port))
    assert unit.other.run(ask, "third") == 0
    assert mesh.proxy.metrics().sum("tulle_connections_refused_total", source="anonymous", cause="caller-limit") == 1
    unit.actor.run(connect, "it", (ADDRESS, mesh.port))
    assert unit.actor.run(ask, "it") == 200


def send(state: State, name: str, address: tuple[str, int]) -> None:
    """A request on a connection of its own, whose answer is read later."""
    connect(state, name, address, 0, REQUEST)


def send_more(state: State, name: str) -> None:
    state[name].sendall(REQUEST)


def receive(state: State, name: str) -> int:
    return status_of(state.pop(name), b"")


def repeat(sock: socket.socket) -> None:
    """Says what it hears."""
    while octets := sock.recv(4096):
        sock.sendall(octets)
