"""Work that takes much memory for a moment, done by a child that takes it along when it ends."""

import gc
import os
import signal
from collections.abc import Callable

_RESET = (signal.SIGTERM, signal.SIGINT)


def aside(work: Callable[[], bytes]) -> bytes | None:
    """What `work` returns in a forked child; waits for it. None where there is no child to be had, or it has not come to an end."""
    ours, theirs = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(ours)
        os.close(theirs)
        return None
    if pid == 0:
        _child(work, theirs)
    os.close(theirs)
    said = bytearray()
    try:
        while piece := os.read(ours, 1 << 20):
            said += piece
    finally:
        os.close(ours)
        _, status = os.waitpid(pid, 0)
    return bytes(said) if status == 0 else None


def _child(work: Callable[[], bytes], pipe: int) -> None:
    """Never returns. Signals end it: they are not the parent's any more."""
    code = 1
    try:
        gc.disable()
        signal.set_wakeup_fd(-1)
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        said = memoryview(work())
        while said:
            said = said[os.write(pipe, said) :]
        code = 0
    finally:
        os._exit(code)
