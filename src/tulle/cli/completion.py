"""`tulle completion`: the script that a shell needs."""

import click

from tulle.cli.words import show


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell: `eval "$(tulle completion bash)"`."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101  (the choice allows no other)
    show(found(ctx.find_root().command, {}, "tulle", "_TULLE_COMPLETE").source())
