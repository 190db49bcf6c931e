"""What one service may take of the box, as far as limits of processes go: no cgroup is needed for it."""

import contextlib
import os
import resource

PROCESSES = 4096
"""Processes and threads of a user within the supervisor's user namespace: of one service under root, of all pods otherwise."""
OOM_SCORE = 500
"""Thousandths of the box's memory by which a service looks larger to the kernel that must end something."""


def allow_descriptors(count: int) -> None:
    """Of this process and all it starts; they may allow themselves more, up to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count if hard == resource.RLIM_INFINITY else min(count, hard), hard))


def bound_service() -> None:
    """Holds for this process and all it starts: no core files, so many processes, and ended before Tulle's own."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    most = PROCESSES if hard == resource.RLIM_INFINITY else min(hard, PROCESSES)
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    with contextlib.suppress(OSError):  # a box may forbid it; the kernel then chooses as ever
        _be_ended_first()


def _be_ended_first() -> None:
    descriptor = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    try:
        if int(os.read(descriptor, 20)) < OOM_SCORE:
            os.pwrite(descriptor, b"%d" % OOM_SCORE, 0)
    finally:
        os.close(descriptor)
