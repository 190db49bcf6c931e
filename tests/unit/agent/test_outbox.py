"""What waits leaves in order, on disk as soon as it must wait, and whatever is lost is told."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tulle.agent.outbox import HELD_BYTES, Outbox
from tulle.store.spool import Spool
from tulle.telemetry.delivery import Drop
from tulle.telemetry.remote_write import Body

NOW = 1_000_000.0


class Boxes:
    """Outboxes over one file, as one agent after another has them."""

    def __init__(self, path: Path) -> None:
        self.lost: Counter[Drop] = Counter()
        self.path = path

    def open(self, max_bytes: int = 1 << 20) -> Outbox:
        self.spool = Spool(self.path, max_bytes)
        return Outbox(self.spool, 3600.0, self._count)

    def _count(self, why: Drop, samples: int) -> None:
        self.lost[why] += samples


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[Boxes]:
    boxes = Boxes(tmp_path / "spool.db")
    yield boxes
    boxes.spool.close()


def body(seconds: float, octets: bytes = b"x") -> Body:
    return Body(int((NOW + seconds) * 1000), 1, octets)


def leave(box: Outbox, now: float = NOW) -> list[int]:
    """All that waits, in the order of leaving: seconds from NOW."""
    found = []
    while letter := box.next(now):
        found.append(round(letter.at_ms / 1000 - NOW))
        box.done(letter)
    return found


def test_nothing_is_written_while_the_receiver_takes_everything(boxes: Boxes) -> None:
    box = boxes.open()
    assert leave(box) == []

    for second in range(5):
        box.put([body(second)])
        assert boxes.spool.waiting() == (0, 0)
        assert leave(box) == [second]


def test_what_must_wait_is_on_disk_and_outlives_the_process(boxes: Boxes) -> None:
    box = boxes.open()
    leave(box)
    box.put([body(1)])
    assert box.next(NOW) is not None
    box.keep()
    box.put([body(2), body(3)])
    assert boxes.spool.waiting() == (3, 3)
    boxes.spool.close()  # as kill -9 would

    again = boxes.open()
    again.put([body(4)])

    assert leave(again) == [1, 2, 3, 4]


def test_one_that_is_on_its_way_when_the_next_comes_is_kept_with_it(boxes: Boxes) -> None:
    box = boxes.open()
    leave(box)
    box.put([body(1)])
    flying = box.next(NOW)
    assert flying is not None

    box.put([body(2)])

    assert boxes.spool.waiting() == (2, 2)
    box.done(flying)
    assert leave(box) == [2]


def test_after_an_outage_the_disk_is_left_alone_again(boxes: Boxes) -> None:
    box = boxes.open()
    box.put([body(1)])
    assert boxes.spool.waiting() == (1, 1)
    assert leave(box) == [1]

    box.put([body(2)])

    assert boxes.spool.waiting() == (0, 0)
    assert leave(box) == [2]


def test_what_is_too_old_is_told_wherever_it_waits(boxes: Boxes) -> None:
    box = boxes.open()
    box.put([body(0), body(100)])
    assert leave(box, NOW + 3650) == [100]
    box.put([body(200)])

    assert leave(box, NOW + 4000) == []
    assert boxes.lost == {Drop.TOO_OLD: 2}


def test_a_clock_that_went_back_keeps_nothing_from_leaving(boxes: Boxes) -> None:
    box = boxes.open()
    box.put([body(100_000), body(5)])

    assert leave(box, NOW) == [100_000, 5]


def test_a_full_spool_is_told(boxes: Boxes) -> None:
    box = boxes.open(max_bytes=65_536)
    for second in range(40):
        box.put([body(second, bytes(5000))])

    left = leave(box)

    assert left == list(range(40 - len(left), 40))
    assert boxes.lost == {Drop.SPOOL_FULL: 40 - len(left)}


def test_a_disk_that_takes_nothing_costs_the_oldest_beyond_what_memory_may_hold(boxes: Boxes) -> None:
    box = boxes.open()
    boxes.spool._db.execute("PRAGMA query_only = 1")

    for second in range(20):
        box.put([body(second, bytes(HELD_BYTES // 10))])

    assert "readonly" in box.trouble
    assert box.waiting() == (10, 10 * (HELD_BYTES // 10))
    assert leave(box) == list(range(10, 20))
    assert boxes.lost == {Drop.SPOOL_FULL: 10}
