"""`tulle check`: what this box can and cannot enforce."""

import click

from tulle.cli.options import json_option
from tulle.cli.words import Ended, Exit, green, red, say, show, show_json, yellow


@click.command()
@json_option
def check(as_json: bool) -> None:
    """Try everything that a mesh needs of this box, and say what is missing, why, and what would help.

    Nothing is left behind. Exits 1 where pods are impossible.
    """
    from tulle.cli.probes import findings

    found = findings()
    if as_json:
        from dataclasses import asdict

        show_json([asdict(one) for one in found])
    else:
        width = max(len(one.probe) for one in found)
        for one in found:
            mark = green("yes") if one.possible else red("no ") if one.needed else yellow("no ")
            show(f"{mark}  {one.probe.ljust(width)}  {one.enables}: {one.reason}")
            if one.remedy:
                show(f"     {' ' * width}  hint: {one.remedy}")
    if lacking := [one.probe for one in found if one.needed and not one.possible]:
        say(f"pods are impossible here, for want of: {', '.join(lacking)}")
        raise Ended(Exit.REFUSED)
    say("this box can run pods")
