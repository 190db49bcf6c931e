"""CONNECT over HTTP/2 that comes to nothing: answered, and over, whatever the caller leaves unread."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event, ResponseReceived, SettingsAcknowledged, StreamReset
from h2.settings import SettingCodes

from tests.support.relay_bench import Arrive, Bench
from tulle.core.backends import EndpointRef
from tulle.proxy.lane import FORWARD, Arrival
from tulle.proxy.passages import ToServices
from tulle.wire.snapshot import Protocol


def refuses(endpoint: EndpointRef, arrive: Arrive) -> None:
    """Nobody listens."""
    arrive(None)


class Caller:
    """Asks by the forward proxy, and takes no octet of any body."""

    def __init__(self, bench: Bench) -> None:
        self.events: list[Event] = []
        self._sock = bench.caller(Arrival("", FORWARD, 0))
        self._sock.setblocking(False)
        self._conn = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._conn.initiate_connection()
        self._conn.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        self._sock.send(self._conn.data_to_send())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def connect(self, authority: str) -> None:
        """Asks for another connection."""
        stream = self._conn.get_next_available_stream_id()
        self._conn.send_headers(stream, [(":method", "CONNECT"), (":authority", authority)])
        self._sock.send(self._conn.data_to_send())

    def saw(self, kind: type[Event]) -> bool:
        """Whether such an event has come."""
        with suppress(BlockingIOError):
            self.events += self._conn.receive_data(self._sock.recv(65536))
        return any(isinstance(one, kind) for one in self.events)

    def told(self) -> list[dict[str, str]]:
        """The heads of the answers."""
        heads = [one.headers for one in self.events if isinstance(one, ResponseReceived)]
        return [{str(name): str(value) for name, value in head} for head in heads]


@pytest.fixture
def bench() -> Bench:
    made = Bench(Protocol.TCP, refuses)
    made.relay.passages = ToServices(made.relay, made.register, refuses)
    made.relay.idle_timeout = 0.05
    return made


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_answer_that_nobody_takes_is_over_in_time(bench: Bench) -> None:
    with Caller(bench) as caller:
        caller.connect("orders.default:8001")
        bench.until(lambda: caller.saw(ResponseReceived))
        assert [head["x-tulle-reason"] for head in caller.told()] == ["connect-failed"]
        bench.until(lambda: caller.saw(StreamReset))
    bench.until(lambda: not bench.register.connections)


def test_where_no_descriptor_is_left_one_stream_is_refused_and_none_else(bench: Bench) -> None:
    with Caller(bench) as caller:
        bench.until(lambda: caller.saw(SettingsAcknowledged))
        with no_descriptor_left():
            caller.connect("orders.default:8001")
            bench.until(lambda: caller.saw(ResponseReceived))
        caller.connect("orders.default:8001")
        bench.until(lambda: caller.saw(ResponseReceived) and len(caller.told()) == 2)
        assert [head["x-tulle-reason"] for head in caller.told()] == ["overloaded", "connect-failed"]
    bench.until(lambda: not bench.register.connections)
    assert not bench.dispatcher.defects
