"""What the CLI says and how it ends: words on stderr, data on stdout, one exit code for each kind of end."""

import enum
import sys
from collections.abc import Iterable, Sequence

TYPE_CHECKING = False  # as in `tulle.cli.status_words`
if TYPE_CHECKING:
    from tulle.wire.status import Change, Fault


class Exit(enum.IntEnum):
    """Exit codes. Also `130` for an interrupt, as shells expect."""

    OK = 0
    """Done; allowed; healthy."""
    REFUSED = 1
    """Refused, denied, unhealthy, or impossible on this box."""
    USAGE = 2
    """The command line makes no sense."""
    PROBLEMS = 3
    """The manifests have problems; all were printed."""
    NOT_RUNNING = 4
    """No such mesh is running."""


class Failure(Exception):
    """Ends a command: `error[code]: message`, a hint, an exit code."""

    def __init__(self, code: str, message: str, *, hint: str = "", exit: Exit = Exit.REFUSED) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.exit = exit


class Ended(Exception):
    """Ends a command whose words have all been said."""

    def __init__(self, exit: Exit) -> None:
        super().__init__(exit.name)
        self.exit = exit


def say(text: str) -> None:
    """Words, for the person."""
    print(text, file=sys.stderr)


def show(text: str) -> None:
    """Data, for the person or the next program. At once: a pipe may be reading along."""
    print(text, flush=True)


def harmless(text: str) -> str:
    """What others chose, for a terminal: controls are shown, not obeyed."""
    return text if text.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def show_json(document: object) -> None:
    """Data for programs: msgspec documents and plain values, indented."""
    import msgspec

    show(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def show_resources(text: str, *, as_json: bool) -> None:
    """Resources as YAML, or as a list of JSON documents."""
    if as_json:
        import yaml

        show_json(list(yaml.safe_load_all(text)))
    else:
        show(text.rstrip("\n"))


def show_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns padded to the widest cell; no trailing spaces."""
    lines = [tuple(header), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        show("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def say_failure(failure: Failure) -> None:
    """A failure as every error here looks."""
    say(f"{red('error')}[{failure.code}]: {failure.message}")
    if failure.hint:
        say(f"hint: {failure.hint}")


def say_faults(faults: "Iterable[Fault]", word: str = "") -> None:
    """Problems of manifests, each with place and hint; errors unless `word` says otherwise."""
    for number, fault in enumerate(faults):
        if number:
            say("")
        say(f"{word or red('error')}[{fault.code}]: {fault.message}")
        if fault.file:
            say(f"  --> {fault.file}{f':{fault.line}' if fault.line else ''}")
        if fault.hint:
            say(f"hint: {fault.hint}")


def show_changes(changes: "Iterable[Change]") -> None:
    """A diff by name: `+ service prod/payments`."""
    from tulle.wire.status import Difference

    signs = {Difference.ADDED: green("+"), Difference.REMOVED: red("-"), Difference.CHANGED: yellow("~")}
    for change in changes:
        show(f"{signs[change.how]} {change.what} {change.name}")
        for detail in change.details:
            show(f"    {detail}")


def is_coloured() -> bool:
    """Colour is for terminals, and for those who did not decline it."""
    import os

    return sys.stderr.isatty() and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def red(text: str) -> str:
    """Refused, removed, wrong."""
    return f"\033[31m{text}\033[0m" if is_coloured() else text


def green(text: str) -> str:
    """Allowed, added, ready."""
    return f"\033[32m{text}\033[0m" if is_coloured() else text


def yellow(text: str) -> str:
    """Changed, waiting."""
    return f"\033[33m{text}\033[0m" if is_coloured() else text
