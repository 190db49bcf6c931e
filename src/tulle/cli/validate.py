"""`tulle validate`: every problem of manifests, without a running mesh."""

from pathlib import Path

import click

from tulle.cli.options import json_option, paths_argument
from tulle.cli.words import say, show_json


@click.command()
@paths_argument
@json_option
def validate(paths: tuple[Path, ...], as_json: bool) -> None:
    """Check manifests and say every problem at once, with file, line and hint."""
    from tulle.cli.manifests import read_and_compile

    loaded, compiled = read_and_compile(paths, as_json=as_json)
    if as_json:
        show_json({"problems": []})
    services = len(compiled.snapshot.services)
    say(f"valid: mesh `{compiled.snapshot.mesh}`, {len(loaded.resources)} resources, {services} services")
