"""Lines of the access log: whole, harmless, and few where many would be alike."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulle.core.tables import build_tables
from tulle.proxy.access_log import MAX_LINE, AccessLog
from tulle.proxy.counters import Counters
from tulle.proxy.lane import Arrival, Lane
from tulle.proxy.log_floods import FLOOD_LINES, FLOOD_SECONDS
from tulle.proxy.loop import Dispatcher
from tulle.proxy.relay import Relay
from tulle.wire.reason import Reason
from tulle.wire.snapshot import AccessLog as Settings
from tulle.wire.snapshot import Door, Service, ServicePort, Snapshot

DOOR = 1


class Told:
    """A relay without a process, and the reading end of its log."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher(lambda _: None)
        self.relay = Relay(self.dispatcher, Counters())
        self._read, self._write = os.pipe2(os.O_NONBLOCK)
        self.log: AccessLog = self.relay.access_log
        self.log.open(self._write)
        service = Service(name="a/b", address="127.80.0.1", ports=(ServicePort(port=80, target_port=81),))
        doors = (Door(port=DOOR, service="a/b", service_port=80),)
        self.relay.adopt(
            build_tables(Snapshot(generation=1, mesh="m", trust_domain="m", services=(service,), doors=doors))
        )

    @property
    def lane(self) -> Lane:
        return self.relay.lane(Arrival("", "", DOOR))

    def refuse(self, times: int = 1, reason: Reason = Reason.BAD_REQUEST) -> None:
        for _ in range(times):
            self.relay.refuse_unread(self.lane, "http", reason.status, reason)

    def lines(self) -> list[dict[str, object]]:
        """What a turn of the loop wrote."""
        self.dispatcher.turn([])
        octets = b""
        with suppress(BlockingIOError):
            while True:
                octets += os.read(self._read, 1 << 20)
        return [json.loads(line) for line in octets.splitlines()]

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.close()


def test_what_a_flood_left_out_is_told_when_its_time_is_over(told: Told) -> None:
    told.dispatcher.now -= 2 * FLOOD_SECONDS
    told.refuse(FLOOD_LINES + 7)

    *lines, last = told.lines()

    assert len(lines) == FLOOD_LINES
    assert (last.pop("left_out"), last.pop("reason")) == (7, "bad-request")
    assert told.lines() == []


def test_after_a_flood_there_is_room_again(told: Told) -> None:
    told.dispatcher.now -= 2 * FLOOD_SECONDS
    told.refuse(2 * FLOOD_LINES)
    told.lines()

    told.refuse()

    assert [line["reason"] for line in told.lines()] == ["bad-request"]


def test_reasons_have_floods_of_their_own(told: Told) -> None:
    told.refuse(2 * FLOOD_LINES)
    told.refuse(1, Reason.HEAD_TOO_LARGE)

    assert [line["reason"] for line in told.lines()] == ["bad-request"] * FLOOD_LINES + ["head-too-large"]


def test_the_end_tells_what_a_flood_left_out_so_far(told: Told) -> None:
    told.refuse(FLOOD_LINES + 3)
    told.log.finish()

    assert told.lines()[-1]["left_out"] == 3


@pytest.mark.parametrize(
    ("settings", "due"),
    [(Settings(sample=1.0), 1), (Settings(sample=0.0), None), (Settings(enabled=False, sample=1.0), None)],
)
def test_who_is_due_next(told: Told, settings: Settings, due: int | None) -> None:
    told.log.configure(settings)

    assert told.log.due == due if due else told.log.due > 1 << 59


@given(share=st.sampled_from([0.5, 0.1, 0.01]))
def test_samples_are_a_share_apart_on_average(share: float) -> None:
    told = Told()
    gaps = []
    for _ in range(4_000):
        told.log.configure(Settings(sample=share))
        gaps.append(told.log.due)
    told.close()

    assert min(gaps) >= 1
    assert 0.85 <= sum(gaps) / len(gaps) * share <= 1.15


@given(st.text(max_size=3_000), st.text(max_size=600), st.text(max_size=600))
def test_whatever_callers_choose_a_line_is_one_ascii_line_that_no_pipe_cuts(
    path: str, host: str, request_id: str
) -> None:
    written = AccessLog.line({"time": "t", "path": path, "host": host, "request_id": request_id, "policy": "p" * 500})

    assert len(written) <= MAX_LINE
    assert written.endswith(b"\n")
    assert written[:-1].decode("ascii").isprintable()
    said = json.loads(written)
    for name, value in (("path", path), ("host", host), ("request_id", request_id)):
        assert value.startswith(said.get(name, ""))
