"""`tulle`: the command. What is asked most goes the short way, without the parser of command lines that the verbs share."""

import os
import sys
from collections.abc import Sequence

from tulle.cli.words import Exit, say, say_failure


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits."""
    sys.exit(run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Runs one command; its exit code. No traceback ever reaches a person."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _short(words)
        if code is None:
            from tulle.cli.verbs import run as run_verb

            code = run_verb(words)
        return code
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as fault:
        if os.environ.get("TULLE_TRACE"):
            raise
        from tulle.cli.defects import failure_of

        say_failure(failure_of(fault))
        return Exit.REFUSED


def _short(words: list[str]) -> int | None:
    """The exit code of what could be answered the short way; None: nothing was said, the verb has to."""
    if words[:1] == ["status"]:
        from tulle.cli.glance import glance

        return glance(words[1:])
    return None


if __name__ == "__main__":
    main()
