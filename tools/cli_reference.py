"""docs/reference/cli.md, from the click tree."""

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

import click

from tools.pages import page, table
from tulle.cli.verbs import VERBS, root
from tulle.cli.words import Exit


def cli() -> str:
    """Every verb with its arguments and options, and the exit codes."""
    codes = [(str(int(code)), code.name.lower().replace("_", "-"), meaning) for code, meaning in _exits()]
    return page(
        "Command line",
        "Data goes to stdout, words to stderr. `--json` prints documents for programs. With several meshes on the box, "
        "`--mesh NAME` or `TULLE_MESH` says which.",
        "## Exit codes",
        table(("code", "name", "meaning"), [*codes, ("130", "interrupted", "Ended by an interrupt.")]),
        *(_verb(name) for name in VERBS),
    )


def _verb(name: str) -> str:
    context = click.Context(root, info_name="tulle")
    command = root.get_command(context, name)
    assert command is not None  # noqa: S101  (a verb that is listed is there)
    inner = click.Context(command, info_name=name, parent=context)
    usage = " ".join(["tulle", name, *command.collect_usage_pieces(inner)])
    blocks = [f"## tulle {name}", f"```\n{usage}\n```", inspect.cleandoc(command.help or "")]
    options = [_option(one) for one in command.params if isinstance(one, click.Option)]
    if options:
        blocks.append(table(("option", "meaning"), options))
    return "\n\n".join(blocks)


def _option(option: click.Option) -> tuple[str, str]:
    words = ", ".join(f"`{one}`" for one in sorted(option.opts, key=len))
    if not option.is_flag:
        words += f" {option.make_metavar(click.Context(root))}"
    shown: Any = option.default
    default = f" Default: {shown}." if option.show_default and shown not in (None, "", ()) else ""
    return words, (option.help or "") + default


def _exits() -> list[tuple[Exit, str]]:
    """Each code with the docstring under it."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(Exit))).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101  (the source of a class is one)
    meanings = {
        ast.unparse(code.targets[0]): ast.literal_eval(words.value)
        for code, words in pairwise(definition.body)
        if isinstance(code, ast.Assign) and isinstance(words, ast.Expr)
    }
    return [(code, meanings[code.name]) for code in Exit]
