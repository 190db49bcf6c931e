"""`tulle status`: how the node is."""

import click

from tulle.cli.options import json_option, mesh_option
from tulle.cli.words import Ended, Exit, show_json


@click.command()
@click.option("--wait", default=0.0, metavar="SECONDS", help="Wait for the mesh to be ready.")
@mesh_option
@json_option
def status(wait: float, mesh: str | None, as_json: bool) -> None:
    """Show whether the mesh is ready, its pods and its problems. Exits 1 while it is not ready."""
    from tulle.cli.holders import with_holders
    from tulle.cli.running import running
    from tulle.cli.status_words import show_status

    found = with_holders(running(mesh).status(wait))
    if as_json:
        show_json(found)
    else:
        show_status(found)
    if not found.ready:
        raise Ended(Exit.REFUSED)
