"""Which build runs, and what of it a test cannot have."""

import pytest

from tulle.cli.version import is_compiled

of_sources = pytest.mark.skipif(
    is_compiled(), reason="a class of the test's cannot inherit from a compiled one; the sources are tried too"
)
"""For a test that plays a part of the data plane by a class of its own."""
