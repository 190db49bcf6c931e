"""WebSocket through the proxy, whichever HTTP either end speaks: messages, closes, counts, limits, policies."""

import contextlib
import select
import signal
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close
from websockets.sync.connection import Connection
from websockets.sync.server import ServerConnection

from tests.support.h2_tunnels import dial_h2
from tests.support.proxy_harness import DEADLINE, Backends, Proxy, host, one_service, only, until
from tests.support.tapping import tapping
from tests.support.ws_ends import CLOSE, caller, endpoint, over_client, websocket_server
from tulle.wire.snapshot import Action, Limits, Mode, Policy, Protocol, Rule, Snapshot

WAYS = [("h1", "h1"), ("h2", "h1"), ("h1", "h2"), ("h2", "h2")]
"""(caller, endpoint)."""
SPEAKS = {"h1": Protocol.HTTP, "h2": Protocol.HTTP2}
CLOSES = "tulle_websocket_closes_total"
CANCEL = 8
"""HTTP/2's error code."""
MANY = 1200
"""Messages of 64 KB: more than all buffers on the way, the kernel's among them, hold."""
ENDED = "tulle_tcp_connections_total"
NOBODY = Policy(name="default/nobody", action=Action.DENY, rules=(Rule(),))

ways = pytest.mark.parametrize(("near", "far"), WAYS)
nears = pytest.mark.parametrize(("near", "far"), [("h1", "h1"), ("h2", "h2")])


class Mesh:
    """A proxy, a door, and an endpoint that echoes."""

    def __init__(self, proxy: Proxy, port: int, far: str) -> None:
        self.proxy = proxy
        self.door = proxy.door()
        self._port = port
        self._far = far
        proxy.put(self.snapshot())

    def snapshot(
        self,
        generation: int = 1,
        limits: Limits | None = None,
        policies: tuple[Policy, ...] = (only("GET"),),
        mode: Mode = Mode.ENFORCE,
    ) -> Snapshot:
        """Where the door leads, under these policies."""
        return one_service(
            {self.door: Protocol.HTTP},
            (host(self._port),),
            generation=generation,
            limits=limits,
            policies=policies,
            mode=mode,
            speaks=SPEAKS[self._far],
        )

    def closed(self, code: str, by: str) -> None:
        """Waits until one WebSocket is counted as ended so."""
        until(lambda: self.proxy.metrics().sum(CLOSES, code=code, by=by) == 1, f"closed {code} by {by}")

    def is_idle(self) -> bool:
        """Nothing is served, and every tunnel is counted."""
        return self.proxy.metrics().sum("tulle_requests_in_flight") == 0


@pytest.fixture
def mesh(proxy: Proxy, backends: Backends, far: str) -> Iterator[Mesh]:
    with endpoint(far, backends) as port:
        yield Mesh(proxy, port, far)


@ways
def test_messages_go_both_ways(near: str, mesh: Mesh) -> None:
    with caller(near, mesh.door) as one:
        for message in ("hello", b"\x00\xff", "", "ä" * 100_000, bytes(range(256)) * 4096):
            one.talk.send(message)
            assert one.talk.recv() == message
        assert one.talk.ping().wait(20)


@ways
@pytest.mark.parametrize(
    ("code", "counted"), [(1000, "1000"), (1001, "1001"), (1011, "1011"), (3999, "3xxx"), (4000, "4xxx")]
)
def test_a_callers_close_is_counted_by_its_code(near: str, mesh: Mesh, code: int, counted: str) -> None:
    with caller(near, mesh.door) as one:
        one.talk.send("hello")
        assert one.talk.recv() == "hello"
        one.talk.close(code)
        assert one.talk.protocol.close_rcvd == Close(code, "")

    mesh.closed(counted, "caller")
    assert mesh.proxy.metrics().sum(ENDED, protocol="websocket", response_class="closed") == 1


@ways
@pytest.mark.parametrize(("code", "counted"), [(1000, "1000"), (1013, "1013"), (4999, "4xxx")])
def test_an_endpoints_close_reaches_the_caller(near: str, mesh: Mesh, code: int, counted: str) -> None:
    with caller(near, mesh.door) as one:
        one.talk.send(f"{CLOSE}{code}")
        with pytest.raises(ConnectionClosed):
            one.talk.recv()
        assert one.talk.protocol.close_rcvd == Close(code, "")

    mesh.closed(counted, "endpoint")
    until(lambda: mesh.proxy.get("/connections") == [], "the connection is over")


@nears
def test_a_websocket_is_counted_and_told_when_it_ends(near: str, mesh: Mesh) -> None:
    label = {"h1": "websocket", "h2": "http2"}[near]
    with tapping(mesh.proxy) as tap:
        with caller(near, mesh.door) as one:
            one.talk.send(bytes(1000))
            assert len(one.talk.recv()) == 1000
            (connection,) = mesh.proxy.get("/connections")
            assert connection["protocol"] == label
            metrics = mesh.proxy.metrics()
            assert metrics.sum("tulle_connections_open", protocol=label) == metrics.sum("tulle_connections_open") == 1
            assert metrics.sum("tulle_requests_in_flight") == 1
        (summary,) = tap.told()
    assert (summary["protocol"], summary["method"], summary["path"]) == ("websocket", "GET", "/chat")
    assert (summary["class"], summary["close"], summary["closed_by"]) == ("closed", "1000", "caller")
    metrics = mesh.proxy.metrics()
    assert metrics.sum("tulle_requests_total") == 0
    assert metrics.sum(ENDED, protocol="websocket") == metrics.sum(ENDED) == 1
    assert metrics.sum("tulle_tcp_connection_seconds_total", protocol="websocket") > 0
    assert metrics.sum("tulle_request_bytes_total", protocol="websocket") == summary["bytes_in"] > 0
    assert metrics.sum("tulle_response_bytes_total", protocol="websocket") == summary["bytes_out"] > 0
    until(lambda: mesh.proxy.metrics().sum("tulle_connections_open") == 0, "the caller's connection is over")


@pytest.mark.parametrize(("near", "far", "many"), [("h1", "h1", 200), ("h1", "h2", 200), ("h2", "h1", 50)])
def test_many_at_once(near: str, many: int, mesh: Mesh) -> None:
    with contextlib.ExitStack() as open_ones:
        them = [open_ones.enter_context(caller(near, mesh.door)) for _ in range(many)]
        for number, one in enumerate(them):
            one.talk.send(f"{number}")
        for number, one in enumerate(them):
            assert one.talk.recv() == f"{number}"
        assert mesh.proxy.metrics().sum("tulle_requests_in_flight") == many
    until(lambda: mesh.proxy.metrics().sum(CLOSES, code="1000", by="caller") == many, "all are closed")
    until(lambda: mesh.proxy.get("/connections") == [], "nothing is left")
    assert all(one["in_flight"] == 0 for one in mesh.proxy.get("/status")["endpoints"])


@pytest.mark.parametrize("far", ["h1", "h2"])
def test_many_on_one_connection(mesh: Mesh) -> None:
    with dial_h2(mesh.door) as link:
        tunnels = [link.open() for _ in range(100)]
        talks = [over_client(tunnel.sock) for tunnel in tunnels if link.answered(tunnel)[":status"] == "200"]
        for number, talk in enumerate(talks):
            talk.send(bytes((number,)) * 20_000)
        for number, talk in enumerate(talks):
            assert talk.recv() == bytes((number,)) * 20_000
        assert len(mesh.proxy.get("/connections")) == 1
        for talk in talks:
            talk.close(1001)
    until(lambda: mesh.proxy.metrics().sum(CLOSES, code="1001", by="caller") == 100, "all are closed")


@ways
def test_a_caller_that_breaks_off_is_no_close(near: str, mesh: Mesh) -> None:
    with caller(near, mesh.door) as one:
        one.talk.send("hello")
        assert one.talk.recv() == "hello"
        one.break_off()
    mesh.closed("none", "")
    until(lambda: mesh.proxy.get("/connections") == [], "nothing is left")
    assert mesh.proxy.get("/status")["endpoints"][0]["in_flight"] == 0


@pytest.mark.parametrize("near", ["h1", "h2"])
def test_an_endpoint_that_breaks_off_resets_the_caller(near: str, proxy: Proxy, backends: Backends) -> None:
    def breaks_off(talk: ServerConnection) -> None:
        talk.recv()
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        talk.socket.close()

    with websocket_server(breaks_off) as port:
        mesh = Mesh(proxy, port, "h1")
        with caller(near, mesh.door) as one:
            one.talk.send("go")
            with pytest.raises(ConnectionClosed):
                one.talk.recv()
            assert one.talk.protocol.close_rcvd is None
            if one.tunnel is not None:
                assert one.tunnel.reset_code == CANCEL
    mesh.closed("none", "")
    assert proxy.metrics().sum(ENDED, protocol="websocket", response_class="reset") == 1


@pytest.mark.parametrize(("near", "far"), [("h1", "h1"), ("h1", "h2")])
def test_a_drain_lets_a_websocket_end_by_itself(near: str, mesh: Mesh) -> None:
    with caller(near, mesh.door) as one:
        mesh.proxy.ask("POST", "/drain")
        until(lambda: bool(mesh.proxy.get("/status")["draining"]), "it drains")
        one.talk.send("still there")
        assert one.talk.recv() == "still there"
    assert mesh.proxy.process.wait(DEADLINE) == 0


@pytest.mark.parametrize(("near", "far"), [("h1", "h1"), ("h1", "h2")])
def test_a_drains_deadline_cuts_a_websocket(near: str, mesh: Mesh) -> None:
    mesh.proxy.put(mesh.snapshot(2, Limits(drain_timeout=0.2)))
    with caller(near, mesh.door) as one:
        mesh.proxy.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            one.talk.recv()
    assert mesh.proxy.process.wait(DEADLINE) == 0


@ways
def test_a_denied_handshake_is_answered_403(near: str, mesh: Mesh) -> None:
    mesh.proxy.put(mesh.snapshot(2, policies=(only("GET", paths=("/open",)),)))
    with caller(near, mesh.door, "/open") as one:
        one.talk.send("in")
        assert one.talk.recv() == "in"
    if near == "h1":
        with pytest.raises(InvalidStatus, match="403"), caller(near, mesh.door):
            pass
    else:
        with dial_h2(mesh.door) as link:
            answer = link.answered(link.open(path="/chat"))
            assert (answer[":status"], answer["x-tulle-reason"]) == ("403", "denied")
    assert mesh.proxy.metrics().sum("tulle_answers_total", reason="denied") == 1


@ways
def test_a_policy_that_denies_it_cuts_it(near: str, mesh: Mesh) -> None:
    with caller(near, mesh.door, "/cut") as one, caller(near, mesh.door, "/kept") as other:
        mesh.proxy.put(mesh.snapshot(2, policies=(NOBODY,), mode=Mode.SHADOW))
        for each in (one, other):
            each.talk.send("in shadow all goes on")
            assert each.talk.recv() == "in shadow all goes on"
        mesh.proxy.put(mesh.snapshot(3, policies=(only("GET", paths=("/kept",)),)))
        with pytest.raises(ConnectionClosed):
            one.talk.recv()
        other.talk.send("allowed")
        assert other.talk.recv() == "allowed"
    metrics = mesh.proxy.metrics()
    assert metrics.sum("tulle_denied_total", reason="denied") == 1
    assert metrics.sum("tulle_answers_total", reason="denied") == 1
    mesh.closed("1000", "caller")
    mesh.closed("none", "")


@ways
def test_an_idle_websocket_ends(near: str, mesh: Mesh) -> None:
    with caller(near, mesh.door) as one:
        mesh.proxy.put(mesh.snapshot(2, Limits(idle_timeout=0.5)))
        one.talk.send("from here on it holds")
        with pytest.raises(ConnectionClosed):
            for _ in range(2):  # the echo may be late
                one.talk.recv()
    mesh.closed("none", "")
    assert mesh.proxy.metrics().sum("tulle_answers_total", reason="upstream-timeout") == 1


@ways
def test_who_does_not_read_is_not_buffered_for(near: str, far: str, proxy: Proxy, backends: Backends) -> None:
    """The caller writes until all buffers on the way are full; then the endpoint reads, and nothing is missing."""
    may_read = threading.Event()

    def read_late(talk: Connection) -> None:
        may_read.wait(DEADLINE)
        got = sum(len(talk.recv()) for _ in range(MANY))
        talk.send(str(got))

    message = bytes(65_536)
    sent: list[int] = []
    with endpoint(far, backends, read_late) as port:
        mesh = Mesh(proxy, port, far)
        with caller(near, mesh.door) as one:
            before = proxy.resident_bytes()

            def send() -> None:
                for _ in range(MANY):
                    one.talk.send(message)
                    sent.append(1)

            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            until(lambda: stands_still(sent), "nothing moves any more")
            assert len(sent) < MANY
            assert proxy.resident_bytes() - before < 8 << 20
            may_read.set()
            sender.join(DEADLINE)
            assert one.talk.recv() == str(MANY * len(message))


def stands_still(sent: list[int]) -> bool:
    """Nothing was sent between two looks."""
    before = len(sent)
    select.select([], [], [], 0.3)
    return 0 < before == len(sent)
