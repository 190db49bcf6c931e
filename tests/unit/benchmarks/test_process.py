"""Programs under measurement, and how they are scheduled."""

import os
import subprocess
import sys

from benchmarks.process import real_time


def test_real_time_is_for_what_is_started_meanwhile() -> None:
    before = os.sched_getscheduler(0)

    with real_time() as is_allowed:
        meanwhile = _scheduler_of_a_child()

    assert meanwhile == (os.SCHED_FIFO if is_allowed else before)
    assert _scheduler_of_a_child() == before


def _scheduler_of_a_child() -> int:
    return int(subprocess.check_output([sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"]))
