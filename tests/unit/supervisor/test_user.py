import subprocess
import sys
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulle.supervisor.steps import StepFailed
from tulle.supervisor.user import FIRST_UID, LAST_UID, UidTable, choose_uid, identify


@given(st.lists(st.text(min_size=1), unique=True, max_size=50))
def test_no_two_pods_share_a_uid_and_none_leaves_the_range(names: list[str]) -> None:
    taken: set[int] = set()
    for name in names:
        uid = choose_uid(name, frozenset(taken))
        assert FIRST_UID <= uid <= LAST_UID
        assert uid not in taken
        taken.add(uid)


@given(st.text())
def test_the_first_choice_is_by_the_crc_of_the_name(name: str) -> None:
    """As ever: files of services belong to these uids."""
    assert choose_uid(name, frozenset()) == FIRST_UID + zlib.crc32(name.encode()) % (LAST_UID - FIRST_UID + 1)


def test_a_full_range_is_refused() -> None:
    with pytest.raises(StepFailed):
        choose_uid("one more", frozenset(range(FIRST_UID, LAST_UID + 1)))


def test_a_uid_is_remembered_even_when_it_was_a_second_choice(tmp_path: Path) -> None:
    path = tmp_path / "uids"
    first_choice = choose_uid("default/web", frozenset())
    path.write_text(f"default/other {first_choice}\n")

    uid = UidTable(str(path)).uid_of("default/web")

    assert uid == first_choice + 1
    assert UidTable(str(path)).uid_of("default/web") == uid


@given(st.binary(max_size=300))
def test_a_damaged_table_gives_every_pod_a_uid_of_its_own(octets: bytes) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "uids")
        path.write_bytes(octets + b"\nroot 0\ndefault/a 75000\ndefault/b 75000\n")

        table = UidTable(str(path))
        given_out = [table.uid_of(name) for name in ("root", "default/a", "default/b")]

    assert len(set(given_out)) == 3
    assert all(FIRST_UID <= uid <= LAST_UID for uid in given_out)
    assert given_out[1] == 75000 or b"75000" in octets


def test_a_table_that_cannot_be_written_still_answers(tmp_path: Path) -> None:
    table = UidTable(str(tmp_path / "missing" / "uids"))

    assert table.uid_of("default/web") == choose_uid("default/web", frozenset())


def test_a_uid_of_the_meshs_own_is_looked_for_without_services_of_the_box() -> None:
    """Libraries that ask such services stay in the supervisor's memory for good."""
    asked = """
from tulle.supervisor.user import Identity, is_known
print([is_known(Identity(uid, uid, [], "/", "", changes=True)) for uid in (0, 74711)])
print("libnss" in open("/proc/self/maps").read())
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)

    assert done.stdout == "[True, False]\nFalse\n"


def test_an_ordinary_user_cannot_start_a_service_as_another() -> None:
    with pytest.raises(StepFailed) as refused:
        identify("default/web", "somebody-else", None)

    assert refused.value.step == "user"


def test_an_unknown_user_is_named() -> None:
    with pytest.raises(StepFailed, match="no user nobody-has-this-name"):
        identify("default/web", "nobody-has-this-name", UidTable("/nonexistent/uids"))
