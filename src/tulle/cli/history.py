"""`tulle history`: the revisions of a mesh."""

import time

import click

from tulle.cli.options import json_option, mesh_option
from tulle.cli.words import show_json, show_table


@click.command()
@mesh_option
@json_option
def history(mesh: str | None, as_json: bool) -> None:
    """List the revisions that are kept, newest first: number, time, author, why, state."""
    from tulle.cli.running import running
    from tulle.wire.status import RevisionLine

    found = running(mesh).get("/history", list[RevisionLine])
    if as_json:
        show_json(found)
        return
    show_table(
        ("REVISION", "TIME", "STATE", "AUTHOR", "WHY"),
        [
            (
                str(one.number),
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.time)),
                one.state,
                one.author,
                f"{one.why}: {one.fault}" if one.fault else one.why,
            )
            for one in found
        ],
    )
