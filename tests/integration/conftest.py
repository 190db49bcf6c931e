"""What most tests of the proxy alone begin with: a proxy that knows all its doors, and the small servers behind them."""

from collections.abc import Iterator

import pytest

from tests.support.proxy_harness import Backends, Proxy


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """One that has been told everything there is; its doors are opened by the test."""
    with Proxy() as proxy:
        proxy.hand_over("synced", "")
        yield proxy


@pytest.fixture
def backends() -> Iterator[Backends]:
    """None yet; the test serves what it needs."""
    backends = Backends()
    yield backends
    backends.close()
