"""Keeping a program running on a box that sometimes has no means for it."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import errno, os, sys
from tulle.supervisor.daemon import Daemon
from tulle.supervisor.journal import LogFile
from tulle.supervisor.loop import Loop

lacking = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))]
loop = Loop(print)

def prepare():
    if lacking:
        raise lacking.pop()
    loop.later(0, lambda: daemon.stop(20.0, loop.stop))
    return ["sleep", "1000"], ()

daemon = Daemon("agent", loop, LogFile(sys.argv[1]), print, prepare)
daemon.start()
loop.run()
print("ran, and was stopped")
"""


def test_a_program_that_cannot_be_started_is_started_later(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "log"], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.splitlines() == [
        "the agent cannot be started ([Errno 24] Too many open files); starting it again in 0 s",
        "ran, and was stopped",
    ]
