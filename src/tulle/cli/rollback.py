"""`tulle rollback`: an older revision anew."""

import click

from tulle.cli.apply import finish
from tulle.cli.options import json_option, mesh_option


@click.command()
@click.argument("to", metavar="REVISION", type=int)
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
@mesh_option
@json_option
def rollback(to: int, dry_run: bool, mesh: str | None, as_json: bool) -> None:
    """Apply an older revision as a new one. Numbers never go back."""
    from tulle.cli.running import running
    from tulle.wire.status import Applied

    target = f"/rollback?to={to}{'&dry_run=1' if dry_run else ''}"
    finish(running(mesh).post(target, b"", Applied), as_json=as_json)
