"""Options that many verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def mesh_option(command: F) -> F:
    """`--mesh NAME`."""
    return click.option(
        "--mesh",
        "-m",
        metavar="NAME",
        envvar="TULLE_MESH",
        callback=_mesh_name,
        help="Which mesh, when several run; also TULLE_MESH.",
    )(command)


def _mesh_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    from tulle.model.names import is_label

    if value is not None and not is_label(value):
        raise click.BadParameter(f"`{value}` is no name of a mesh")
    return value


def json_option(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def paths_argument(command: F) -> F:
    """One or more manifests: files or directories."""
    return click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))(
        command
    )


def files_option(help: str, *, required: bool = False) -> Callable[[F], F]:
    """`-f FILE|DIR`, repeatable."""
    return click.option(
        "--file",
        "-f",
        "paths",
        metavar="FILE|DIR",
        multiple=True,
        required=required,
        type=click.Path(path_type=Path),
        help=help,
    )
