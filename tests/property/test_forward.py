"""The law of the forward proxy: whatever way a request comes, it is decided and sent on as if its caller had dialled the address."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import msgspec
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forwarding import NOBODY, STRANGER, WEB, snapshot
from tulle.core.backends import EndpointRef
from tulle.core.tables import build_tables
from tulle.proxy.arrival import Register
from tulle.proxy.counters import Counters
from tulle.proxy.detect import Detector
from tulle.proxy.lane import FORWARD, FORWARD_PATH, Arrival
from tulle.proxy.loop import Dispatcher
from tulle.proxy.passages import ToServices
from tulle.proxy.relay import Relay
from tulle.proxy.upstream import Pools
from tulle.wire.snapshot import Mode, Protocol

TURNS = 2_000

Answer = tuple[str, str, bytes]
"""Status, reason, and what the endpoint got: first line and Host."""


class Streets:
    """A relay whose services can be reached by address and by the forward proxy; its endpoints answer with what they got."""

    def __init__(self, mode: Mode) -> None:
        self.told: list[str] = []
        self.dispatcher = Dispatcher(self.told.append)
        self.relay = Relay(self.dispatcher, Counters())
        self.relay.connector = Pools(self.relay, self._dial)
        self.register = Register()
        self.relay.passages = ToServices(self.relay, self.register, self._dial)
        self._ends: list[socket.socket] = []
        mesh = snapshot(1, mode=mode)
        backends = [msgspec.structs.replace(one, protocol=Protocol.HTTP) for one in mesh.backends]
        self.relay.adopt(build_tables(msgspec.structs.replace(mesh, backends=tuple(backends))))

    def caller(self, arrival: Arrival) -> socket.socket:
        """The caller's end of a connection that came so."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        connection = self.register.add(arrival, self.dispatcher.now)
        Detector(self.relay, connection, self.relay.lane(arrival), self._dial).start(ours)
        return theirs

    def until(self, holds: Callable[[], bool]) -> None:
        """Turns, and plays the endpoints, until a fact holds."""
        for _ in range(TURNS):
            if holds():
                return
            self.dispatcher.turn(self.dispatcher.epoll.poll(0, 256))
            for end in list(self._ends):
                with contextlib.suppress(BlockingIOError):
                    self._play(end)
        raise AssertionError("never came true")

    def clear(self) -> None:
        """All callers have left."""
        self.until(lambda: not self.register.connections)
        assert self.told == []
        assert self.relay.counters.in_flight == 0
        ends, self._ends = self._ends, []
        for end in ends:
            end.close()
        self.until(lambda: self.relay.counters.upstreams == 0)
        self.dispatcher.epoll.close()

    def _play(self, end: socket.socket) -> None:
        got = end.recv(65536)
        if got:
            seen = b"\r\n".join(got.split(b"\r\n", 2)[:2])
            end.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(seen), seen))
        else:
            self._ends.remove(end)
            end.close()

    def _dial(self, endpoint: EndpointRef, arrive: Callable[[socket.socket | None], None]) -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self._ends.append(far)
        arrive(near)


class Octets:
    """A caller's connection: what it sends, and what came."""

    def __init__(self, streets: Streets, sock: socket.socket) -> None:
        self.streets = streets
        self.sock = sock
        self.came = b""
        self.is_over = False

    def send(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def until(self, holds: Callable[[], bool]) -> None:
        """Reads until a fact holds, or no more comes."""
        self.streets.until(lambda: self._read() or holds() or self.is_over)

    def _read(self) -> bool:
        try:
            octets = self.sock.recv(65536)
        except BlockingIOError:
            return False
        except ConnectionError:
            octets = b""
        self.is_over = not octets
        self.came += octets
        return False


class Stream(Octets):
    """The octets of a stream that CONNECT opened."""

    def __init__(self, link: "Link", stream_id: int) -> None:
        super().__init__(link.line.streets, link.line.sock)
        self._link = link
        self._id = stream_id

    def send(self, octets: bytes) -> None:
        self._link.h2.send_data(self._id, octets)

    def until(self, holds: Callable[[], bool]) -> None:
        def look() -> bool:
            events = self._link.of(self._id)
            self.came = b"".join(one.data for one in events if isinstance(one, DataReceived))
            self.is_over = any(isinstance(one, (StreamEnded, StreamReset)) for one in events)
            return holds() or self.is_over

        self._link.until(look)


class Link:
    """HTTP/2 on octets."""

    def __init__(self, line: Octets) -> None:
        self.line = line
        config = H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
        self.h2 = H2Connection(config)
        self.h2.initiate_connection()
        self._events: list[Event] = []
        self._taken = 0

    def of(self, stream_id: int) -> list[Event]:
        return [one for one in self._events if getattr(one, "stream_id", 0) == stream_id]

    def ask(self, fields: list[tuple[str, str]], *, ends: bool) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, fields, end_stream=ends)
        return stream_id

    def answer(self, stream_id: int) -> dict[str, str]:
        """The head of an answer; a reset has the status `reset`."""
        self.until(lambda: bool(self.of(stream_id)))
        (first, *_) = [one for one in self.of(stream_id) if isinstance(one, (ResponseReceived, StreamReset))]
        return dict(first.headers or ()) if isinstance(first, ResponseReceived) else {":status": "reset"}  # type: ignore[arg-type]

    def until(self, holds: Callable[[], bool]) -> None:
        def look() -> bool:
            if said := self.h2.data_to_send():
                self.line.send(said)
            came = self.line.came
            if len(came) > self._taken:
                self._events += self.h2.receive_data(came[self._taken :])
                self._taken = len(came)
            return holds()

        self.line.until(look)


class Request:
    """One that both HTTPs can say."""

    def __init__(self, method: str, path: str, fields: tuple[str, ...]) -> None:
        self.method = method
        self.path = path
        self.fields = fields

    def __repr__(self) -> str:
        return f"{self.method} {self.path} {self.fields}"

    def ask_h1(self, line: Octets, authority: str, origin: str = "", host: str = "") -> Answer:
        """Over HTTP/1.1, the answer to it."""
        fields = "".join(f"{one}\r\n" for one in self.fields)
        start = len(line.came)
        line.send(f"{self.method} {origin}{self.path} HTTP/1.1\r\nhost: {host or authority}\r\n{fields}\r\n".encode())
        line.until(lambda: is_whole(line.came[start:], self.method))
        head, _, body = line.came[start:].partition(b"\r\n\r\n")
        if not head:
            return "closed", "", b""
        lines = head.decode().split("\r\n")
        reason = next((one.partition(": ")[2] for one in lines if one.startswith("x-tulle-reason")), "")
        return lines[0].split(" ")[1], reason, body if not reason else b""

    def ask_h2(self, line: Octets, authority: str) -> Answer:
        """Over HTTP/2."""
        link = Link(line)
        fields = [tuple(one.split(": ")) for one in self.fields if not one.startswith(("connection", "proxy-"))]
        pseudo = [(":method", self.method), (":scheme", "http"), (":authority", authority), (":path", self.path)]
        stream = link.ask([*pseudo, *fields], ends=True)  # type: ignore[list-item]
        head = link.answer(stream)
        reason = head.get("x-tulle-reason", "")
        if head[":status"] == "reset":
            return "reset", "", b""
        link.until(lambda: any(isinstance(one, (StreamEnded, StreamReset)) for one in link.of(stream)))
        body = b"".join(one.data for one in link.of(stream) if isinstance(one, DataReceived))
        return head[":status"], reason, body if not reason else b""


def is_whole(octets: bytes, method: str) -> bool:
    """A whole answer with Content-Length is there."""
    head, separator, body = octets.partition(b"\r\n\r\n")
    if not separator:
        return False
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
    return method == "HEAD" or len(body) >= length


PLACES = {
    "orders": ("127.80.0.1", 80),
    "orders:80": ("127.80.0.1", 80),
    "orders.default.svc:81": ("127.80.0.1", 81),
    "orders.default:82": ("127.80.0.1", 82),
    "open.default": ("127.80.0.2", 80),
    "open.default.svc.cluster.local.:81": ("127.80.0.2", 81),
    "orders.other": ("127.80.0.3", 80),
    "127.80.0.3:80": ("127.80.0.3", 80),
    "postgres.default:5432": ("127.80.0.4", 5432),
    "down.default": ("127.80.0.5", 80),
}
"""What callers of `default` and anonymous ones mean by these; others where the namespace is said."""

SEGMENTS = ["orders", "Orders", "..", ".", "", "secret", "%6frders", "%2e%2e", "%2f", "%5c", ";x", "a%00", "1", "%zz"]
# Methods in lower case are no requests to a port that is detected, but octets; named by their target they are requests.
requests = st.builds(
    Request,
    st.sampled_from(["GET", "POST", "DELETE", "OPTIONS", "PURGE"]),
    st.builds(
        lambda parts, query: "/" + "/".join(parts) + query,
        st.lists(st.sampled_from(SEGMENTS), max_size=5),
        st.sampled_from(["", "?", "?a=/orders/"]),
    ),
    st.lists(
        st.sampled_from(["x-a: 1", "connection: close", "proxy-connection: keep-alive", "x-request-id: mine"]),
        max_size=3,
        unique=True,
    ).map(tuple),
)
named = st.sampled_from(sorted(PLACES))
callers = st.sampled_from([WEB, STRANGER, NOBODY])
ways = st.sampled_from([FORWARD, FORWARD_PATH])
"""To the forward proxy: by its address, by its path."""


@pytest.fixture(scope="module", params=[Mode.ENFORCE, Mode.SHADOW])
def streets(request: pytest.FixtureRequest) -> Iterator[Streets]:
    made = Streets(request.param)
    yield made
    made.clear()


def place_of(caller: str, authority: str) -> tuple[str, int]:
    """The address that a caller means."""
    if caller == STRANGER and authority in ("orders", "orders:80"):
        return "127.80.0.3", 80
    return PLACES[authority]


TCP = (":82", ":5432")


def direct(streets: Streets, caller: str, authority: str, ask: Callable[[Octets], Answer]) -> Answer:
    """What is answered to whom dials the address."""
    arrival = Arrival(caller, *place_of(caller, authority))
    assert streets.relay.lane(arrival).port is not None
    with streets.caller(arrival) as sock:
        return ask(Octets(streets, sock))


@given(
    way=ways,
    caller=callers,
    authority=named,
    request=requests,
    host=st.sampled_from(["", "open", "orders:80", "x.example"]),
)
def test_absolute_form_is_decided_as_by_address(
    streets: Streets, way: str, caller: str, authority: str, request: Request, host: str
) -> None:
    if not authority.endswith(TCP):
        wanted = direct(streets, caller, authority, lambda line: request.ask_h1(line, authority))
    with streets.caller(Arrival(caller, way, 0)) as sock:
        line = Octets(streets, sock)
        found = request.ask_h1(line, authority, f"http://{authority}", host)
        if authority.endswith(TCP):
            assert found[1] in ("denied", "unsupported")
            return
        assert found == wanted
        if "connection: close" not in request.fields and found[0] != "400":
            assert request.ask_h1(line, authority, f"http://{authority}", host) == wanted, "remembered"


@given(caller=callers, authority=named, request=requests)
def test_origin_form_by_path_is_decided_as_by_address(
    streets: Streets, caller: str, authority: str, request: Request
) -> None:
    if not authority.endswith(TCP):
        wanted = direct(streets, caller, authority, lambda line: request.ask_h1(line, authority))
    with streets.caller(Arrival(caller, FORWARD_PATH, 0)) as sock:
        line = Octets(streets, sock)
        found = request.ask_h1(line, authority)
        if authority.endswith(TCP):
            assert found[1] in ("denied", "unsupported") or found[0] == "400"
            return
        assert found == wanted
        if "connection: close" not in request.fields and found[0] != "400":
            assert request.ask_h1(line, authority) == wanted, "remembered"
    with streets.caller(Arrival(caller, FORWARD, 0)) as sock:
        assert request.ask_h1(Octets(streets, sock), authority)[1] in ("origin-form", "bad-request"), "by address"


@given(way=ways, caller=callers, authority=named, request=requests)
def test_stream_is_decided_as_by_address(
    streets: Streets, way: str, caller: str, authority: str, request: Request
) -> None:
    with streets.caller(Arrival(caller, way, 0)) as sock:
        found = request.ask_h2(Octets(streets, sock), authority)
    if authority.endswith(TCP):
        assert found[1] in ("denied", "unsupported") or found[0] == "reset"
    else:
        assert found == direct(streets, caller, authority, lambda line: request.ask_h2(line, authority))


@given(way=ways, caller=callers, authority=named, request=requests, is_early=st.booleans())
def test_what_follows_connect_is_decided_as_by_address(
    streets: Streets, way: str, caller: str, authority: str, request: Request, is_early: bool
) -> None:
    """`is_early`: it is sent with the head, before CONNECT is answered."""
    place = place_of(caller, authority)
    wanted = direct(streets, caller, authority, lambda line: request.ask_h1(line, authority))
    target = f"{place[0]}:{place[1]}"
    with streets.caller(Arrival(caller, way, 0)) as sock:
        line = Octets(streets, sock)
        line.send(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
        if not is_early:
            line.until(lambda: b"\r\n\r\n" in line.came)
            found = connected(line, lambda: request.ask_h1(line, authority))
        else:
            seen = Ahead(line)
            found = request.ask_h1(seen, authority)
            if seen.refusal:
                found = seen.refusal
    compare(found, wanted)


@given(way=ways, caller=callers, authority=named, request=requests)
def test_what_follows_connect_on_a_stream_is_decided_as_by_address(
    streets: Streets, way: str, caller: str, authority: str, request: Request
) -> None:
    place = place_of(caller, authority)
    wanted = direct(streets, caller, authority, lambda line: request.ask_h1(line, authority))
    with streets.caller(Arrival(caller, way, 0)) as sock:
        link = Link(Octets(streets, sock))
        number = link.ask([(":method", "CONNECT"), (":authority", f"{place[0]}:{place[1]}")], ends=False)
        head = link.answer(number)
        found = head[":status"], head.get("x-tulle-reason", ""), b""
        if head[":status"] == "200":
            found = request.ask_h1(Stream(link, number), authority)
    compare(found, wanted)


def compare(found: Answer, wanted: Answer) -> None:
    """A refusal of CONNECT stands for that of whatever would have followed."""
    if wanted[0] in ("closed", "400") and found[1] in ("denied", "no-healthy-endpoint"):
        return
    assert found == wanted


def connected(line: Octets, ask: Callable[[], Answer]) -> Answer:
    """The answer to what follows, or to CONNECT itself when that is refused."""
    head, _, _ = line.came.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 200 Connection Established"):
        return ask()
    return refusal_of(head)


def refusal_of(head: bytes) -> Answer:
    """Of our own answer."""
    lines = head.decode().split("\r\n")
    return lines[0].split(" ")[1], next(one[16:] for one in lines if one.startswith("x-tulle-reason: ")), b""


class Ahead(Octets):
    """Octets behind the answer to CONNECT, which is not there yet."""

    def __init__(self, line: Octets) -> None:
        super().__init__(line.streets, line.sock)
        self.refusal: Answer | None = None

    def until(self, holds: Callable[[], bool]) -> None:
        super().until(lambda: b"\r\n\r\n" in self.came)
        head, _, rest = self.came.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 200 Connection Established"):
            self.came = rest
            super().until(holds)
        else:
            self.refusal = refusal_of(head)
