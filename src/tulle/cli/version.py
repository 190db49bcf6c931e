"""`tulle version`: what is installed."""

import platform

import click

import tulle
from tulle.cli.options import json_option
from tulle.cli.words import show, show_json


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version, of Python too, and whether the hot modules are compiled."""
    compiled = is_compiled()
    if as_json:
        show_json({"tulle": tulle.__version__, "python": platform.python_version(), "compiled": compiled})
    else:
        show(
            f"tulle {tulle.__version__} (Python {platform.python_version()}, {'compiled' if compiled else 'interpreted'})"
        )


def is_compiled() -> bool:
    """Whether the data plane's decisions run as machine code."""
    import tulle.core.authorize

    return not (tulle.core.authorize.__file__ or "").endswith(".py")
