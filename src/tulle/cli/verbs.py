"""The verbs of `tulle`, each loaded only when it is asked for."""

import importlib
import keyword
from collections.abc import Sequence

import click

import tulle
from tulle.cli.words import Ended, Exit, Failure, say_failure

VERBS = (
    "up",
    "down",
    "install",
    "uninstall",
    "status",
    "apply",
    "validate",
    "expand",
    "import",
    "get",
    "why",
    "top",
    "tap",
    "logs",
    "history",
    "rollback",
    "upgrade",
    "check",
    "dashboards",
    "version",
    "completion",
)
"""In the order of the help; each is `tulle.cli.<verb>` with a click command of that name, `_` added to a keyword."""

_INTERNAL = ("supervise",)
"""For units, not for people."""


class Verbs(click.Group):
    """Finds a verb in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All, in the order in which one needs them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one verb."""
        if cmd_name not in VERBS + _INTERNAL:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(importlib.import_module(f"tulle.cli.{name}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the nearest verb when there is none of that name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as fault:
            from difflib import get_close_matches

            close = get_close_matches(args[0], VERBS, n=1)
            raise click.UsageError(
                f"{fault.message} {f'Did you mean `{close[0]}`?' if close else ''}".strip(), ctx
            ) from fault


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(tulle.__version__, message="tulle %(version)s")
def root() -> None:
    """The light service mesh for the edge.

    Data goes to stdout, words to stderr. Exit codes: 0 done, allowed, healthy; 1 refused, denied, unhealthy;
    2 wrong usage; 3 problems in manifests; 4 no such mesh is running.
    """


def run(argv: Sequence[str]) -> int:
    """Runs one command; its exit code. Raises KeyboardInterrupt, and what the verb did not foresee."""
    try:
        root.main(list(argv), prog_name="tulle", standalone_mode=False)
    except Ended as end:
        return end.exit
    except Failure as failure:
        say_failure(failure)
        return failure.exit
    except click.UsageError as fault:
        fault.show()
        return Exit.USAGE
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    return Exit.OK
