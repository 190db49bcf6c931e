"""Ten thousand connections that say nothing weigh little, whichever HTTP they speak."""

import resource
from collections.abc import Iterator

import pytest

from benchmarks.idle import BODY, HTTP1, HTTP2, octets_each

COUNT = 10_000


@pytest.fixture
def _as_many_descriptors_as_may_be() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_as_many_descriptors_as_may_be")
@pytest.mark.parametrize("asks", [HTTP1, HTTP2], ids=["HTTP/1.1", "HTTP/2"])
def test_an_idle_connection_costs_at_most_eight_kilobytes(asks: bytes) -> None:
    assert octets_each(asks, BODY, COUNT) <= 8_192
