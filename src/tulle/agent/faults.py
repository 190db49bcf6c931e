"""Problems of manifests as they cross the wire."""

from tulle.kit.aside import Killed
from tulle.model.place import Problem
from tulle.wire.status import Fault


def fault_of(problem: Problem) -> Fault:
    """The same, for whoever asked."""
    return Fault(code=problem.code, message=problem.message, file=problem.file, line=problem.line, hint=problem.hint)


def refusal(fault: str) -> Problem:
    """A snapshot that compiled and that the proxy would not have: a defect of ours, worth a report."""
    return Problem("snapshot-refused", f"the proxy refused the snapshot: {fault}", hint="this is a defect: report it")


def unfinished(end: Killed) -> Problem:
    """Manifests that nobody came to the end of. What runs stays."""
    return Problem(
        "compile-killed",
        f"the process that compiled these manifests was ended by {end}",
        hint="if the box was short of memory (`dmesg` tells), make room, then `tulle apply` them",
    )
