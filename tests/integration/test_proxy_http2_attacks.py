"""Hostile callers of a real proxy: each meets its end, others are served all along, memory is bounded and nothing is left behind."""

import contextlib
import select
import socket
from collections.abc import Callable, Iterator
from itertools import repeat

import pytest

from tests.support.h2_attacks import ATTACKS, Attack, again
from tests.support.h2_peer import Bystander, Peer, get, post
from tests.support.h2_script import literal_block, octets_of
from tests.support.proxy_harness import DEADLINE, Backends, Proxy, backend_process, dial, host, one_service, until
from tulle.http.h2.frames import DATA, HEADERS, INITIAL_WINDOW_SIZE, MAX_WINDOW, PREFACE, frame, window_frame
from tulle.wire.snapshot import Backend, Limits, Match, PathMatch, Protocol, Route, WeightedBackend

GROWTH = 4 << 20
"""Octets by which a proxy may grow under any one attack."""
WAITING = GROWTH + 128 * 65_536
"""Where a window's worth of an answer waits in each of a connection's streams (docs/decisions/0006)."""


DEAF = Match(path=PathMatch(value="/deaf"))
"""What goes to an endpoint that accepts and never reads."""


def deaf(sock: socket.socket) -> None:
    """Reads nothing until the proxy gives up."""
    poller = select.poll()
    poller.register(sock, select.POLLRDHUP)
    poller.poll(DEADLINE * 1_000)


SHUT = Match(path=PathMatch(value="/shut"))
"""What goes to an endpoint that lets no octet of a body in, so that none of its caller's credit comes back."""


def shut(sock: socket.socket) -> None:
    """Opens no window until the proxy leaves."""
    with Peer.endpoint(sock, ((INITIAL_WINDOW_SIZE, 0),)) as peer:
        while not peer.is_over:
            select.select([], [], [], 0.05)


class Scene:
    """A proxy behind one door, backends of either protocol, and a bystander."""

    def __init__(self, proxy: Proxy, door: int) -> None:
        self.proxy = proxy
        self.door = door
        self.bystander = Bystander(door)
        assert self.bystander.is_served()
        self._resident = proxy.resident_bytes()

    def until(self, holds: Callable[[], bool], what: str, *, pause: float = 0.05) -> None:
        """Waits until a fact holds, and sees all the while that the bystander is served."""

        def is_true() -> bool:
            assert self.bystander.is_served()
            select.select([], [], [], pause)
            return holds()

        until(is_true, what)

    def ends_well(self, growth: int = GROWTH) -> None:
        """The attacker is gone: the bystander is served, nothing is left of the attack; what grew is below `growth`."""
        assert self.bystander.is_served()
        proxy = self.proxy

        def is_quiet() -> bool:
            status = proxy.get("/status")
            return (
                status["requests_in_flight"] == 0
                and status["connections"] == 1
                and not any(endpoint["in_flight"] for endpoint in status["endpoints"])
            )

        proxy.until(is_quiet, "only the bystander is left")
        metrics = proxy.metrics()
        assert metrics.sum("tulle_connections_open") == 1
        assert metrics.sum("tulle_defects_total") == 0
        assert metrics.sum("tulle_request_duration_seconds_count") == metrics.sum("tulle_requests_total")
        assert self.growth() < growth

    def growth(self) -> int:
        """Octets by which the proxy has grown."""
        return self.proxy.resident_bytes() - self._resident


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Proxy, int]]:
    """One proxy for all attacks; what one leaves behind would be seen by the next."""
    backends = Backends()
    unheard = Backend(
        name="deaf",
        service="default/orders",
        protocol=Protocol.HTTP,
        endpoints=(host(backends.serve(deaf)),),
    )
    barred = Backend(
        name="shut",
        service="default/orders",
        protocol=Protocol.HTTP2,
        endpoints=(host(backends.serve(shut)),),
    )
    routes = (
        Route(name="default/deaf", matches=(DEAF,), backends=(WeightedBackend(backend="deaf"),)),
        Route(name="default/shut", matches=(SHUT,), backends=(WeightedBackend(backend="shut"),)),
        Route(name="default/orders", backends=(WeightedBackend(backend="default/orders:9000"),)),
    )
    limits = Limits(idle_timeout=2.0, head_timeout=0.6, request_timeout=2.0)
    with Proxy() as proxy, backend_process("v1") as backend:
        door = proxy.door()
        doors = {door: Protocol.HTTP}
        proxy.put(
            one_service(
                doors, (host(backend),), limits=limits, speaks=Protocol.HTTP, routes=routes, backends=(unheard, barred)
            )
        )
        proxy.hand_over("synced", "")
        yield proxy, door
    backends.close()


@pytest.fixture
def scene(served: tuple[Proxy, int]) -> Iterator[Scene]:
    scene = Scene(*served)
    yield scene
    scene.bystander.close()


HERE = [attack for attack in ATTACKS if not attack.name.startswith("DATA beyond")]
"""Where the endpoint takes what comes, credit is given back and no window ever exceeded."""


@pytest.mark.parametrize("attack", HERE, ids=lambda attack: attack.name)
def test_a_flood_ends_in_goaway(scene: Scene, attack: Attack) -> None:
    with Peer.caller(scene.door) as attacker:
        attacker.wait(lambda: attacker.is_greeted, "SETTINGS come")
        sent = attacker.send_all(attack.pieces(), attack.within * 50, scene.bystander.is_served)
        assert scene.bystander.is_served()
        scene.until(lambda: attacker.is_over, "the proxy closes")
        if attack.name == "GOAWAY flood":
            assert sent < attack.within  # one GOAWAY of a caller without streams is taken for a farewell
        else:
            assert f"connection {attacker.fate}" == attack.ends, sent
    scene.ends_well()


def test_windows_of_zero_held_for_ever_end_in_rst_stream(scene: Scene) -> None:
    with Peer.caller(scene.door, ((INITIAL_WINDOW_SIZE, 0),)) as attacker:
        streams = range(1, 200, 2)
        attacker.send(b"".join(get(n, b"/big") for n in streams))

        scene.until(lambda: all(attacker.reset_code(n) for n in streams), "every stream is reset")

        assert {attacker.reset_code(n) for n in streams} == {"INTERNAL_ERROR"}
        assert not any(attacker.body(n) for n in streams)
    scene.ends_well(WAITING)


def test_a_connection_window_never_given_back_ends_in_rst_stream(scene: Scene) -> None:
    with Peer.caller(scene.door, ((INITIAL_WINDOW_SIZE, MAX_WINDOW),)) as attacker:
        streams = range(1, 200, 2)
        attacker.send(b"".join(get(n, b"/big") for n in streams))

        scene.until(lambda: all(attacker.reset_code(n) for n in streams), "every stream is reset")

        assert sum(len(attacker.body(n)) for n in streams) == 65_535
    scene.ends_well(WAITING)


def test_windows_opened_octet_by_octet_are_useless_frames(scene: Scene) -> None:
    with Peer.caller(scene.door, ((INITIAL_WINDOW_SIZE, 0),)) as attacker:
        attacker.send(get(1, b"/big"))
        attacker.send_all(again("WINDOW_UPDATE 1 #00000001")(), 50_000, scene.bystander.is_served)

        scene.until(lambda: attacker.is_over, "the proxy closes")

        assert attacker.fate == "ENHANCE_YOUR_CALM"
        assert len(attacker.body(1)) <= 2_002  # what moved before the answer came is not counted
    scene.ends_well()


def test_windows_opened_octet_by_octet_at_leisure_meet_the_deadline(scene: Scene) -> None:
    with Peer.caller(scene.door, ((INITIAL_WINDOW_SIZE, 0),)) as attacker:
        attacker.send(get(1, b"/big"))

        def has_ended() -> bool:
            attacker.send(window_frame(1, 1))
            return bool(attacker.reset_code(1))

        scene.until(has_ended, "the stream is reset", pause=0.2)
        assert attacker.reset_code(1) == "INTERNAL_ERROR"
    scene.ends_well()


def test_an_own_answer_that_no_window_lets_through_meets_the_deadline(scene: Scene) -> None:
    with Peer.caller(scene.door, ((INITIAL_WINDOW_SIZE, 0),)) as attacker:
        attacker.send(get(1, b"/" + b"a" * 20_000))
        attacker.wait(lambda: any(f.kind == HEADERS for f in attacker.frames), "the head of 414")

        scene.until(lambda: bool(attacker.reset_code(1)), "the stream is reset")
        scene.until(lambda: attacker.is_over, "a connection without streams idles out")
    scene.ends_well()


def test_a_head_that_is_too_large_is_answered_and_others_go_on(scene: Scene) -> None:
    with Peer.caller(scene.door) as attacker:
        long = literal_block([(b"x", b"a" * 15_000)])
        attacker.send(get(1, b"/" + b"a" * 20_000) + get(3, b"/", literal_block([(b"x", b"")]) * 200) + get(5))
        attacker.wait(lambda: all(attacker.answers(n) for n in (1, 3, 5)), "all are answered")
        assert b"target-too-long" in attacker.body(1)
        assert b"head-too-large" in attacker.body(3)
        assert attacker.body(5) == b"v1"
        attacker.send(get(7, b"/", long * 5))
        scene.until(lambda: attacker.is_over, "the proxy closes")
        assert attacker.fate == "ENHANCE_YOUR_CALM"
    scene.ends_well()


@pytest.mark.parametrize("flood", ["answers", "pongs", "settings"])
def test_a_caller_that_never_reads_is_not_read_either_and_ends(scene: Scene, flood: str) -> None:
    pieces = {
        "answers": (get(n, b"/big") + window_frame(0, 1 << 20) for n in range(1, 1 << 20, 2)),
        "pongs": repeat(octets_of("30 x (PING 0 8*00)"), 1 << 20),
        "settings": repeat(octets_of("30 x (SETTINGS 0)"), 1 << 20),
    }[flood]
    with Peer.caller(scene.door, ((INITIAL_WINDOW_SIZE, MAX_WINDOW),), reads=False) as attacker:
        attacker.sock.settimeout(0.3)
        attacker.send_all(pieces, 1 << 20, scene.bystander.is_served)

        assert scene.bystander.is_served()
    scene.ends_well(WAITING)


def test_uploads_that_never_end_are_bounded_and_timed_out(scene: Scene) -> None:
    with Peer.caller(scene.door) as attacker:
        attacker.wait(lambda: attacker.is_greeted, "SETTINGS come")
        attacker.send(b"".join(post(n, b"/hold") for n in range(1, 2_000, 2)))

        scene.until(lambda: bool(attacker.reset_code(1_999)), "streams beyond the limit are refused")
        assert {attacker.reset_code(n) for n in range(257, 2_000, 2)} == {"REFUSED_STREAM"}

        scene.until(lambda: attacker.is_over or all(attacker.reset_code(n) for n in range(1, 257, 2)), "the others end")
        for n in range(1, 257, 2):
            assert b"request-timeout" in attacker.body(n)
    scene.ends_well()


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "octet by octet"])
@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(PREFACE[:10], id="half a preface"),
        pytest.param(PREFACE, id="no SETTINGS"),
        pytest.param(PREFACE + octets_of("SETTINGS 0; HEADERS 1 ES {get}"), id="a head without END_HEADERS"),
        pytest.param(PREFACE + octets_of("SETTINGS 0; HEADERS 1 ES EH {get} len=9000"), id="half a HEADERS frame"),
        pytest.param(b"FOOBAR ", id="half a request line"),
    ],
)
def test_what_begins_and_never_ends_meets_the_deadline_for_heads(scene: Scene, beginning: bytes, drips: bool) -> None:
    with Peer(dial(scene.door), beginning) as attacker:
        rest = iter(PREFACE[10:] if len(beginning) == 10 else octets_of("CONTINUATION 1 9000*00"))

        def has_ended() -> bool:
            if drips:
                attacker.send(bytes((next(rest, 0),)))
            return attacker.is_over

        scene.until(has_ended, "the proxy closes", pause=0.2)
        assert attacker.fate in ("", "NO_ERROR", "ENHANCE_YOUR_CALM")
    scene.ends_well()


def test_data_beyond_a_streams_window_ends_in_rst_stream(scene: Scene) -> None:
    with Peer.caller(scene.door) as attacker:
        attacker.send(post(1, b"/deaf"))
        data = frame(DATA, 0, 1, bytes(16_384))

        scene.until(lambda: attacker.send(data * 64) and bool(attacker.reset_code(1)), "the stream is reset", pause=0)

        assert attacker.reset_code(1) == "FLOW_CONTROL_ERROR"
    scene.ends_well()


def test_data_beyond_a_connections_window_ends_in_goaway(scene: Scene) -> None:
    with Peer.caller(scene.door) as attacker:
        streams = range(1, 200, 2)
        attacker.send(b"".join(post(n, b"/shut") for n in streams))
        data = b"".join(frame(DATA, 0, n, bytes(16_384)) for n in streams)

        scene.until(lambda: not attacker.send(data) or attacker.is_over, "the proxy closes", pause=0)

        assert attacker.fate == "FLOW_CONTROL_ERROR"
    scene.ends_well()


def test_large_heads_that_all_differ_are_not_remembered(scene: Scene) -> None:
    with contextlib.ExitStack() as stack:
        attackers = [stack.enter_context(Peer.caller(scene.door)) for _ in range(10)]
        for n in range(1, 121, 2):
            large = literal_block([(b"x-%d" % part, b"%d" % n + b"a" * 4_000) for part in range(7)])
            for attacker in attackers:
                attacker.send(get(n, b"/", large))
            for attacker in attackers:
                attacker.wait(lambda attacker=attacker, n=n: attacker.answers(n), "the answer")  # type: ignore[misc]
            assert scene.bystander.is_served()
        assert scene.growth() < GROWTH
    scene.ends_well()


def test_a_farewell_lets_what_runs_end_and_then_closes(scene: Scene) -> None:
    with Peer.caller(scene.door) as caller:
        caller.send(get(1, b"/big") + octets_of("GOAWAY 0 8*00") + window_frame(1, 1 << 20) + window_frame(0, 1 << 20))

        scene.until(lambda: caller.is_over, "the proxy closes")

        assert len(caller.body(1)) == 1 << 20
        assert caller.answers(1)
    scene.ends_well()
