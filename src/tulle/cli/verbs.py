"""The verbs of `tulle`, each loaded only when it is asked for."""

import importlib
import keyword
import os
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
    """Runs one command; its exit code. No traceback ever reaches a person."""
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
    except BrokenPipeError:
        raise
    except Exception as defect:
        if os.environ.get("TULLE_TRACE"):
            raise
        say_failure(_of_the_box(defect) or Failure("defect", f"{type(defect).__name__}: {defect}", hint=_DEFECT))
        return Exit.REFUSED
    return Exit.OK


_DEFECT = "a defect of tulle; TULLE_TRACE=1 shows where"


def _of_the_box(fault: Exception) -> Failure | None:
    """What is no defect: a directory that is not ours alone, a file that is closed to us, a disk that takes no more."""
    import errno

    from tulle.kit.places import UnsafeDirectory

    elsewhere = "or name another place: TULLE_RUNTIME_DIR, TULLE_STATE_DIR"
    if isinstance(fault, UnsafeDirectory):
        return Failure(
            "unsafe-directory", str(fault), hint=f"it must be yours, and writable to nobody else; {elsewhere}"
        )
    if isinstance(fault, OSError) and fault.filename:
        message = f"{fault.filename}: {fault.strerror}"
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            return Failure("disk-full", message, hint=f"make room (df -h; df -i), {elsewhere}")
        if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return Failure("not-permitted", message, hint=f"run it as whom that is open to, {elsewhere}")
    return None
