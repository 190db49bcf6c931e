"""How something is tried on this box: in a child of its own, which leaves nothing behind."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """A row of `tulle check`."""

    probe: str
    possible: bool
    needed: bool
    """Without it there is no isolated mesh here."""
    enables: str
    """What it is for."""
    reason: str
    """What was seen: a version, or the kernel's words."""
    remedy: str = ""
    """What to do where it is impossible."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Something to try."""

    name: str
    enables: str
    attempt: Callable[[], str]
    """Returns what was seen. Raises OSError where it is impossible."""
    remedy: str
    needed: bool = True
    remedies: Mapping[int, str] = field(default_factory=dict)
    """By the number of the error, where that says more."""

    def run(self) -> Finding:
        """Tries it in a child, so that namespaces, filters and limits end with it."""
        seen, fault, remedy = in_child(self.attempt)
        if fault is None:
            return Finding(self.name, True, self.needed, self.enables, seen)
        remedy = remedy or self.remedies.get(fault, self.remedy)
        return Finding(self.name, False, self.needed, self.enables, seen, remedy)


class Impossible(OSError):
    """An attempt that failed and knows what would help."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(0, why)
        self.remedy = remedy


def in_child(attempt: Callable[[], str]) -> tuple[str, int | None, str]:
    """What an attempt saw; or the words and number of the error that stopped it, and what it knows would help."""
    try:
        reader, writer = os.pipe()
    except OSError as refusal:
        return f"no pipe to a child: {refusal.strerror}", 0, "more file descriptors: ulimit -n"
    try:
        child = os.fork()
    except OSError as refusal:
        os.close(reader)
        os.close(writer)
        return f"no child to try it in: {refusal.strerror}", 0, "more processes: ulimit -u, or a looser sandbox"
    if child == 0:
        try:
            os.close(reader)
            os.write(writer, json.dumps(_tried(attempt)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as result:
        text = result.read()
    _, status = os.waitpid(child, 0)
    if not text:
        return f"the probe ended with {os.waitstatus_to_exitcode(status)}", 0, ""
    seen, fault, remedy = json.loads(text)
    return str(seen), fault, str(remedy)


def _tried(attempt: Callable[[], str]) -> tuple[str, int | None, str]:
    try:
        return attempt(), None, ""
    except Impossible as fault:
        return str(fault.strerror), 0, fault.remedy
    except OSError as fault:
        return str(fault.strerror or fault), fault.errno or 0, ""
    except Exception as fault:  # noqa: BLE001  (a probe that breaks is a row, not the end of the table)
        return f"{type(fault).__name__}: {fault}", 0, ""
