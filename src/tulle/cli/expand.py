"""`tulle expand`: the mesh file in the full language."""

from pathlib import Path

import click

from tulle.cli.options import json_option, paths_argument
from tulle.cli.words import show, show_json


@click.command()
@paths_argument
@json_option
def expand(paths: tuple[Path, ...], as_json: bool) -> None:
    """Print manifests as resources: what the short form stands for, the default policy included."""
    from tulle.cli.manifests import read
    from tulle.manifest import dump

    text = dump(read(paths, as_json=as_json).resources)
    if as_json:
        import yaml

        show_json(list(yaml.safe_load_all(text)))
    else:
        show(text.rstrip("\n"))
