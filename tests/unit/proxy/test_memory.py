"""The last snapshot survives the proxy, whatever it was doing when it died."""

import os
from collections.abc import Iterator

import pytest

from tulle.proxy.memory import SLOT_BYTES, SnapshotMemory, TooLarge


@pytest.fixture
def descriptor() -> Iterator[int]:
    made = os.memfd_create("snapshot")
    yield made
    os.close(made)


def test_nothing_is_loaded_from_an_empty_memory(descriptor: int) -> None:
    assert SnapshotMemory(descriptor).load() is None


def test_the_last_one_stored_is_loaded_by_the_next_process(descriptor: int) -> None:
    memory = SnapshotMemory(descriptor)
    for text in (b"one", b"two, which is longer", b"three"):
        memory.store(text)
        assert SnapshotMemory(descriptor).load() == text


def test_a_process_that_loaded_goes_on_in_the_other_slot(descriptor: int) -> None:
    SnapshotMemory(descriptor).store(b"one")
    second = SnapshotMemory(descriptor)
    assert second.load() == b"one"
    second.store(b"two")
    assert SnapshotMemory(descriptor).load() == b"two"


@pytest.mark.parametrize("place", [0, 10, 20, 30, 57])
def test_a_slot_that_was_being_written_is_not_believed(descriptor: int, place: int) -> None:
    memory = SnapshotMemory(descriptor)
    memory.store(b"one")
    memory.store(b"two")
    os.pwrite(descriptor, b"\xff", SLOT_BYTES + place)
    assert SnapshotMemory(descriptor).load() == b"one"


def test_what_fits_no_slot_is_refused_and_the_last_one_stays(descriptor: int) -> None:
    memory = SnapshotMemory(descriptor)
    memory.store(b"one")
    with pytest.raises(TooLarge):
        memory.store(bytes(SLOT_BYTES))
    assert SnapshotMemory(descriptor).load() == b"one"
