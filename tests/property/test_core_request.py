"""Laws of the two readings of a path."""

from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st

from tests.property.strategies import raw_paths
from tulle.core.request import canonical_host, canonical_path

octets = raw_paths.map(str.encode) | st.binary(max_size=30).map(lambda rest: b"/" + rest)


@given(octets)
def test_the_canonical_path_is_its_own_canonical_path(raw: bytes) -> None:
    found = canonical_path(raw)

    assert found is None or canonical_path(found[0]) == found


@given(octets)
def test_what_is_forwarded_is_a_clean_target(raw: bytes) -> None:
    found = canonical_path(raw)
    if found is None:
        return
    path = found[0]

    assert path.startswith("/")
    assert path.isascii()
    assert not set(path) & {"?", "#", " ", "\0", "\r", "\n"}
    assert not {".", ".."} & set(path.split("/"))


@given(octets)
def test_the_folded_path_hides_nothing(raw: bytes) -> None:
    found = canonical_path(raw)
    if found is None:
        return
    folded = found[1].encode("utf-8", "surrogateescape")

    assert folded.startswith(b"/")
    assert unquote_to_bytes(folded) == folded
    assert b"\\" not in folded
    assert b"//" not in folded
    assert b"\0" not in folded
    assert not {b".", b".."} & {segment.partition(b";")[0] for segment in folded.split(b"/")}


@given(octets)
def test_equal_readings_are_one_object(raw: bytes) -> None:
    found = canonical_path(raw)

    assert found is None or (found[0] == found[1]) == (found[0] is found[1])


@given(st.text(alphabet="abcxyz019-_~", min_size=1), st.integers(0, 255))
def test_escaping_what_needs_no_escape_changes_nothing(text: str, choice: int) -> None:
    at = choice % len(text)
    escaped = f"/{text[:at]}%{ord(text[at]):02x}{text[at + 1 :]}"

    assert canonical_path(escaped) == canonical_path(f"/{text}")


@given(st.binary(max_size=20) | st.text(alphabet="aB.:[]0", max_size=8).map(str.encode))
def test_a_host_is_its_own_host(raw: bytes) -> None:
    host = canonical_host(raw)

    assert host is None or canonical_host(host) == host
