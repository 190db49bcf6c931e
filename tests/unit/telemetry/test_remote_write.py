"""What is encoded is what the exposition says: read back with the same libraries, and by the specification's octets."""

import struct

import pytest
from cramjam import snappy
from hypothesis import given
from hypothesis import strategies as st

from tests.support.remote_write import read_request
from tulle.telemetry.exposition import labels, samples
from tulle.telemetry.ledger import STALE, Ledger, Point
from tulle.telemetry.remote_write import SERIES_AT_MOST, Body, bodies

EXPOSITION = """# HELP tulle_requests_total Requests.
# TYPE tulle_requests_total counter
tulle_requests_total{source="default/web",destination="default/orders",version=""} 42
tulle_request_duration_seconds_bucket{source="default/web",le="0.005"} 40
tulle_request_duration_seconds_bucket{source="default/web",le="+Inf"} 42
tulle_denied_total{policy="a \\"quoted\\" back\\\\slash, {brace} and\\nline"} 1
process_cpu_seconds_total 0.25
"""
AT = 1_700_000_000_000

Series = tuple[tuple[tuple[str, str], ...], tuple[tuple[int, float], ...]]


def read(body: Body) -> list[Series]:
    request = read_request(body.octets)
    return [
        (tuple((one.name, one.value) for one in series.labels), tuple((s.timestamp, s.value) for s in series.samples))
        for series in request.timeseries
    ]


def encoded(text: str, **common: str) -> list[Series]:
    (body,) = bodies(Ledger().points(AT, samples(text)), common)
    return read(body)


def test_every_sample_of_the_exposition_is_there_with_its_labels_and_its_value() -> None:
    found = {
        dict(labels)["__name__"] + dict(labels).get("le", ""): (labels, told) for labels, told in encoded(EXPOSITION)
    }

    assert found == {
        "tulle_requests_total": (
            (("__name__", "tulle_requests_total"), ("destination", "default/orders"), ("source", "default/web")),
            ((AT, 42.0),),
        ),
        "tulle_request_duration_seconds_bucket0.005": (
            (("__name__", "tulle_request_duration_seconds_bucket"), ("le", "0.005"), ("source", "default/web")),
            ((AT, 40.0),),
        ),
        "tulle_request_duration_seconds_bucket+Inf": (
            (("__name__", "tulle_request_duration_seconds_bucket"), ("le", "+Inf"), ("source", "default/web")),
            ((AT, 42.0),),
        ),
        "tulle_denied_total": (
            (("__name__", "tulle_denied_total"), ("policy", 'a "quoted" back\\slash, {brace} and\nline')),
            ((AT, 1.0),),
        ),
        "process_cpu_seconds_total": ((("__name__", "process_cpu_seconds_total"),), ((AT, 0.25),)),
    }


def test_labels_are_sorted_and_a_metrics_own_come_before_what_is_added() -> None:
    for written, _ in encoded(EXPOSITION, source="added", mesh="edge", a="first"):
        assert [name for name, _ in written] == sorted(name for name, _ in written)
        assert dict(written)["mesh"] == "edge"
        assert dict(written).get("source") in ("default/web", "added")
    first = dict(encoded(EXPOSITION, source="added")[0][0])
    assert first["source"] == "default/web"


@given(
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=300),
    st.floats(allow_nan=False),
    st.integers(-(2**63), 2**63 - 1),
)
def test_the_protobuf_library_reads_what_was_written(value: str, number: float, at_ms: int) -> None:
    escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    (body,) = bodies([Point(f'a{{b="{escaped}"}}', ((at_ms, number),))], {})

    written = (("__name__", "a"), ("b", value)) if value else (("__name__", "a"),)
    assert read(body) == [(written, ((at_ms, number),))]


def test_the_octets_are_those_of_the_specification() -> None:
    (body,) = bodies([Point('a{le="1"}', ((3, 2.0),))], {})

    written = b"\n\x0d\n\x08__name__\x12\x01a" + b"\n\x07\n\x02le\x12\x011"
    sample = b"\x09" + struct.pack("<d", 2.0) + b"\x10\x03"
    series = written + b"\x12" + bytes([len(sample)]) + sample
    assert bytes(snappy.decompress_raw(body.octets)) == b"\n" + bytes([len(series)]) + series


def test_the_mark_of_an_end_is_the_very_nan_that_prometheus_knows() -> None:
    (body,) = bodies([Point("a", ((3, STALE),))], {})

    assert bytes.fromhex("020000000000f07f") in bytes(snappy.decompress_raw(body.octets))


def test_a_large_exposition_is_cut_into_requests_that_say_how_old_they_are() -> None:
    points = [Point(f'a{{n="{n}"}}', ((AT + n - 60_000, 0.0), (AT + n, 1.0))) for n in range(2 * SERIES_AT_MOST + 1)]

    cut = list(bodies(points, {}))

    assert [one.samples for one in cut] == [2 * SERIES_AT_MOST, 2 * SERIES_AT_MOST, 2]
    assert [one.at_ms for one in cut] == [AT - 60_000 + start for start in (0, SERIES_AT_MOST, 2 * SERIES_AT_MOST)]
    assert sum(len(read(one)) for one in cut) == len(points)


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="not a sample"):
        samples("nonsense\n")


def test_an_empty_label_is_none() -> None:
    assert dict(labels('a{b="",c="d"}')) == {"__name__": "a", "c": "d"}
