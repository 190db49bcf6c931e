"""`tulle expand`: the mesh file in the full language."""

from pathlib import Path

import click

from tulle.cli.options import json_option, paths_argument
from tulle.cli.words import show_resources


@click.command()
@paths_argument
@json_option
def expand(paths: tuple[Path, ...], as_json: bool) -> None:
    """Print manifests as resources: what the short form stands for, the default policy included."""
    from tulle.cli.manifests import read
    from tulle.manifest import dump

    show_resources(dump(read(paths, as_json=as_json).resources), as_json=as_json)
