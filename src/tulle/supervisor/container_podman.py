"""Asks podman: runs it as a child and waits for what it says."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tulle.kit import privileges
from tulle.supervisor.fork import execute, find_program, fork
from tulle.supervisor.steps import StepFailed

_KEPT_BYTES = 64 << 10
_NOT_RUN = 125
_OWN = "TULLE_"
"""Variables that are nobody else's business."""


class Box(NamedTuple):
    """Podman on this box."""

    stamp: str
    """Of the programs this was found out with."""
    podman: str
    version: str
    images: str
    """Directory of the box's images."""
    driver: str
    """How they are stored."""
    runtime: str
    limits: bool
    """True: its cgroups hold a container to memory, processors and processes."""
    why_no_limits: str
    profile: str
    """Where podman's list of system calls is, tightened."""


class Answer(NamedTuple):
    """How a program ended, and what it said."""

    code: int
    """128 and the number of the signal that ended it, as shells have it."""
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The line of its complaint that says most: podman's own `Error: …`, else the last."""
        text = self.err.replace("\0", "")  # which separates what is said to the supervisor
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
        said = (errors or lines or [f"exit {self.code}"])[-1]
        return said.partition(": ")[2] if said.startswith("unable to start container ") else said


def podman_environment() -> dict[str, str]:
    """The supervisor's own without what is Tulle's: where the box's containers lie may be said there."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}


def find_podman() -> str:
    """Where podman is. Raises StepFailed."""
    try:
        return find_program("podman", os.environ)
    except FileNotFoundError:
        raise StepFailed("podman", "there is no podman in PATH") from None


def ask(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    outputs: tuple[int, int] | None = None,
    before: Callable[[], object] = lambda: None,
) -> Answer:
    """Runs a program to its end; it ends with this process. `before` is called in the child.

    What it says is kept, unless `outputs` says where it goes instead. Raises OSError when it cannot be started.
    """
    kept = [os.memfd_create("tulle-words", os.MFD_CLOEXEC) for _ in range(2)] if outputs is None else []
    stdout, stderr = outputs or kept
    parent = os.getpid()

    def run() -> None:
        try:
            privileges.die_with(parent)
            before()
            execute(argv, env, stdin=os.open("/dev/null", os.O_RDONLY), stdout=stdout, stderr=stderr)
        except OSError as fault:
            os.write(stderr, f"{argv[0]} cannot be run: {fault}\n".encode())
            raise SystemExit(_NOT_RUN) from None

    try:
        _, status = os.waitpid(fork(run, (stdout, stderr)), 0)
        code = os.waitstatus_to_exitcode(status)
        out, err = (os.pread(one, _KEPT_BYTES, 0).decode("utf-8", "replace") for one in kept) if kept else ("", "")
        return Answer(code if code >= 0 else 128 - code, out, err)
    finally:
        for one in kept:
            os.close(one)
