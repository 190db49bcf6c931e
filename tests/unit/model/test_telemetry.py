"""What may stand as the address of a receiver."""

import pytest

from tulle.model.telemetry import is_push_url


@pytest.mark.parametrize(
    "url", ["http://metrics.example:9090/api/v1/write", "https://10.0.0.7/w?a=b", "http://[::1]:9090/"]
)
def test_what_can_be_dialled_is_a_receiver(url: str) -> None:
    assert is_push_url(url)


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "a\\b", "-a", "user:secret@host", ""])
def test_a_host_that_nobody_can_dial_is_none(host: str) -> None:
    assert not is_push_url(f"http://{host}/api/v1/write")
