"""Long work at once."""

from collections.abc import Generator

import pytest

from tulle.core.pieces import at_once


def test_work_in_pieces_comes_to_the_same_at_once() -> None:
    done: list[int] = []

    def counted(number: int) -> Generator[None, None, str]:
        for one in range(number):
            done.append(one)
            yield
        return "done"

    assert at_once(counted(5)) == "done"
    assert done == [0, 1, 2, 3, 4]
    assert at_once(counted(0)) == "done"


def test_its_fault_is_raised() -> None:
    def fails() -> Generator[None, None, None]:
        yield
        raise ValueError("spoilt")

    with pytest.raises(ValueError, match="spoilt"):
        at_once(fails())
