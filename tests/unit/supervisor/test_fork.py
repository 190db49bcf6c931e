"""Forking where the box has no process left."""

import subprocess
import sys

SCRIPT = """
import os, resource, signal
from tulle.supervisor.fork import fork

if os.getuid() == 0:
    os.setresuid(65534, 65534, 65534)  # root has no limit
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    fork(lambda: None, ())
except BlockingIOError:
    print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
"""


def test_a_fork_that_fails_leaves_no_signal_blocked() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
