"""What no verb foresaw, in words: no traceback ever reaches a person."""

import errno

from tulle.cli.words import Failure
from tulle.kit.places import UnsafeDirectory

_ELSEWHERE = "or name another place: TULLE_RUNTIME_DIR, TULLE_STATE_DIR"


def failure_of(fault: Exception) -> Failure:
    """How a command ends that it ended."""
    hint = "a defect of tulle; TULLE_TRACE=1 shows where"
    return _of_the_box(fault) or Failure("defect", f"{type(fault).__name__}: {fault}", hint=hint)


def _of_the_box(fault: Exception) -> Failure | None:
    """What is no defect: a directory that is not ours alone, a file that is closed to us, a disk that takes no more."""
    if isinstance(fault, UnsafeDirectory):
        hint = f"it must be yours, and writable to nobody else; {_ELSEWHERE}"
        return Failure("unsafe-directory", str(fault), hint=hint)
    if isinstance(fault, OSError) and fault.filename:
        message = f"{fault.filename}: {fault.strerror}"
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            return Failure("disk-full", message, hint=f"make room (df -h; df -i), {_ELSEWHERE}")
        if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return Failure("not-permitted", message, hint=f"run it as whom that is open to, {_ELSEWHERE}")
    return None
