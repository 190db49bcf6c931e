"""Modules that others would load on the chance that somebody needs them, and that cost a small box megabytes."""

import sys

LIBRARIES = ("ssl", "_hashlib", "typing_extensions")
"""asyncio imports `ssl` and does without; `hashlib` has the same digests built in; msgspec asks for `typing_extensions`
only in case it is there. Together 6.6 MB of a process that speaks to unix sockets alone (CPython 3.11)."""


def spare(*modules: str) -> None:
    """Makes importing these raise ImportError in this process, as if they were not installed. Call it before all else."""
    for name in modules:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def after_all(module: str) -> None:
    """Lets this process import it yet: what has been loaded meanwhile goes on without."""
    if sys.modules.get(module, module) is None:
        del sys.modules[module]
