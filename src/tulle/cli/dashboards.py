"""`tulle dashboards`: what Grafana and Prometheus are given."""

from pathlib import Path

import click

from tulle.cli.words import Exit, Failure, show


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def dashboards(directory: Path) -> None:
    """Write the Grafana dashboard and the Prometheus alert rules into a directory; files of theirs are replaced."""
    from tulle.dashboards import ALERTS, DASHBOARD

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, file in (("tulle.json", DASHBOARD), ("tulle-alerts.yaml", ALERTS)):
            (directory / name).write_bytes(file.read_bytes())
            show(str(directory / name))
    except OSError as fault:
        raise Failure("unwritable", f"cannot write {fault.filename}: {fault.strerror}", exit=Exit.REFUSED) from fault
