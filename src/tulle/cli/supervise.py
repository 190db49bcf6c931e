"""`tulle supervise`: what the unit of an ordinary user starts. AppArmor knows Tulle by this program's path, not by Python's."""

import os
import sys

import click


@click.command(hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def supervise(words: tuple[str, ...]) -> None:
    """Become the supervisor. For units; `tulle up` starts a mesh by hand."""
    command = [sys.executable, "-P", "-m", "tulle.supervisor", *words]
    os.execv(command[0], command)  # noqa: S606  (the unit's process is the supervisor)
