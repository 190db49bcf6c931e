"""What the demo and the tests make of an exposition."""

import pytest

from tools.exposition import Series, parse, total

TEXT = """\
# HELP tulle_requests_total Requests.
# TYPE tulle_requests_total counter
tulle_requests_total{source="a",destination="b",version="v1",route="r",protocol="http",response_class="2xx"} 9
tulle_requests_total{source="a",destination="b",version="v1",route="s",protocol="http",response_class="5xx"} 1
tulle_request_duration_seconds_bucket{source="a",destination="b",version="v1",le="0.1"} 5
tulle_request_duration_seconds_bucket{source="a",destination="b",version="v1",le="0.2"} 10
tulle_request_duration_seconds_bucket{source="a",destination="b",version="v1",le="+Inf"} 10
odd{name="a \\"quoted\\" } and a \\\\ and a \\n"} 1e-3
tulle_requests_in_flight 2
"""


def test_labels_are_unescaped() -> None:
    odd = next(series for series in parse(TEXT) if series.name == "odd")

    assert odd == Series("odd", {"name": 'a "quoted" } and a \\ and a \n'}, 0.001)


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="not a sample"):
        parse("tulle_requests_total{")


def test_total_sums_what_carries_the_labels() -> None:
    assert total(parse(TEXT), "tulle_requests_total", source="a") == 10
    assert total(parse(TEXT), "tulle_requests_total", response_class="5xx") == 1
