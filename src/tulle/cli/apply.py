"""`tulle apply`: another revision for a running mesh."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tulle.cli.options import files_option, json_option, mesh_option
from tulle.cli.words import Ended, Exit, Failure, say, say_faults, show_changes, show_json, yellow

if TYPE_CHECKING:
    from tulle.wire.status import Applied


@click.command()
@files_option("The whole mesh, as `tulle up` would read it; repeatable.", required=True)
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
@click.option("--why", default="apply", metavar="TEXT", help="For the history.")
@mesh_option
@json_option
def apply(paths: tuple[Path, ...], dry_run: bool, why: str, mesh: str | None, as_json: bool) -> None:
    """Replace what a running mesh does by what these manifests say.

    No manifest is written: the mesh goes on watching the files that it was started with, and the next change of one
    of them wins. An applied revision survives a restart until then.
    """
    import msgspec

    from tulle.cli.manifests import read
    from tulle.cli.running import running
    from tulle.manifest import texts
    from tulle.wire.status import Applied, Outcome

    files, unreadable = texts(paths)
    if unreadable:
        files = dict(read(paths, as_json=as_json).sources)
    target = "/apply?dry_run=1" if dry_run else "/apply"
    try:
        applied = running(mesh).post(target, msgspec.json.encode({"files": files, "why": why}), Applied)
    except Failure:
        read(paths, as_json=as_json)  # what is wrong with the manifests comes before what is wrong with the mesh
        raise
    if applied.outcome is Outcome.INVALID and any(one.file for one in applied.problems):
        read(paths, as_json=as_json)  # the same again; what only the agent sees is in no file, and said below
    finish(applied, as_json=as_json)


def finish(applied: "Applied", *, as_json: bool) -> None:
    """Shows what an apply or a rollback came to, and ends accordingly."""
    from tulle.wire.status import Outcome

    if as_json:
        show_json(applied)
    else:
        show_changes(applied.changes)
    say_faults(applied.problems)
    say_faults(applied.warnings, yellow("warning"))
    generation = applied.generation
    words = {
        Outcome.IN_FORCE: f"generation {generation} is in force",
        Outcome.UNCHANGED: f"nothing changes; generation {generation} stays",
        Outcome.VALID: "valid; nothing was changed (dry run)",
        Outcome.PENDING: f"generation {generation} is kept, but the proxy does not answer yet",
        Outcome.REFUSED: f"refused by the proxy; generation {generation} stays",
        Outcome.INVALID: f"nothing was changed; generation {generation} stays",
    }
    say(words[applied.outcome])
    ends = {Outcome.INVALID: Exit.PROBLEMS, Outcome.REFUSED: Exit.REFUSED, Outcome.PENDING: Exit.REFUSED}
    if applied.outcome in ends:
        raise Ended(ends[applied.outcome])
