"""What the demo says of memory that it may not read."""

from tools.demo_report import all_pss
from tools.footprint import Footprint, Weight

MB = 1 << 20
READ = (Weight("supervisor", 1, 15 * MB, 9 * MB), Weight("proxy", 2, 28 * MB, 25 * MB))
HIDDEN = (Weight("broker", 3, 12 * MB, None), Weight("pod init", 4, 12 * MB, None))


def test_what_can_all_be_read_is_one_number() -> None:
    assert all_pss(Footprint(READ)) == "34.0 PSS"


def test_what_cannot_is_between_nothing_and_all_that_is_resident() -> None:
    assert all_pss(Footprint(READ + HIDDEN)) == (
        "between 34.0 and 58.0 PSS: 2 processes hide their memory from this user (as root it is exact)"
    )
