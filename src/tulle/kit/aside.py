"""Work that takes much memory for a moment, done by a child that takes it along when it ends."""

import gc
import os
import signal
from collections.abc import Callable

from tulle.kit.privileges import die_with

_RESET = (signal.SIGTERM, signal.SIGINT)


class Killed(Exception):
    """A signal ended the child, most likely because it took more memory than there was. Done here, the work would take as much."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}, {signal.strsignal(number)}")


def aside(work: Callable[[], bytes]) -> bytes | None:
    """What `work` returns in a forked child; waits for it. None where there is no child to be had, or `work` raised something there.

    Raises Killed. The child ends with its parent.
    """
    try:
        ours, theirs = os.pipe()
    except OSError:
        return None
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        os.close(ours)
        os.close(theirs)
        return None
    if pid == 0:
        os.close(ours)  # else a parent that reads no more would be waited for
        _child(work, theirs, parent)
    os.close(theirs)
    said = bytearray()
    try:
        while piece := os.read(ours, 1 << 20):
            said += piece
    finally:
        os.close(ours)
        _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        raise Killed(os.WTERMSIG(status))
    return bytes(said) if status == 0 else None


def _child(work: Callable[[], bytes], pipe: int, parent: int) -> None:
    """Never returns. Signals end it: they are not the parent's any more."""
    code = 1
    try:
        die_with(parent)
        gc.disable()
        signal.set_wakeup_fd(-1)
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        said = memoryview(work())
        while said:
            said = said[os.write(pipe, said) :]
        code = 0
    except MemoryError:
        os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does where it promised more than there is
    finally:
        os._exit(code)
