"""Starts children that hold nothing of the supervisor's but what they are given, and that end when it ends."""

import contextlib
import errno
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

from tulle.kit.syscalls import libc

_PR_SET_NAME = 15
_RESET = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)
"""Those that the supervisor or Python handle or ignore. To block all there are would have the child write to a name of each."""


def fork(run: Callable[[], object], keep: Iterable[int]) -> int:
    """Runs a function in a child that ends with it, with default signal actions and only `keep` and 0–2 open.

    The child leads a group of its own: ctrl-C in a terminal is for the supervisor, which ends the others in order.
    Raises OSError where the box has no process left.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _RESET)
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid
    code = 1
    try:
        gc.disable()
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        reset_signals()
        close_all_but(keep)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        run()
        code = 0
    except SystemExit as wish:
        code = wish.code if isinstance(wish.code, int) else 1
    except BaseException:
        with contextlib.suppress(Exception):
            sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def execute(argv: Sequence[str], env: Mapping[str, str], *, stdin: int, stdout: int, stderr: int) -> NoReturn:
    """Becomes another program; what is to stay open must be inheritable. Raises OSError when it cannot."""
    for source, target in ((stdin, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
    reset_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execve(find_program(argv[0], env), list(argv), dict(env))


def find_program(name: str, env: Mapping[str, str]) -> str:
    """The first program of this name in PATH that this process may execute. Raises FileNotFoundError."""
    if "/" in name:
        return name
    for directory in env.get("PATH", "").split(":"):
        candidate = os.path.join(directory or ".", name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(errno.ENOENT, "no such program in PATH", name)


def reset_signals() -> None:
    """Default actions; Python itself ignores SIGPIPE, which programs do not expect."""
    for number in _RESET:
        signal.signal(number, signal.SIG_DFL)


def close_all_but(keep: Iterable[int]) -> None:
    """Closes every descriptor from 3 on that is not named."""
    low = 3
    for descriptor in sorted(one for one in set(keep) if one >= low):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 1 << 20)


def take_name(name: str) -> None:
    """As `ps` shows this process, and what it forks; at most 15 octets."""
    libc("prctl", _PR_SET_NAME, name.encode(), 0, 0, 0)


def raise_descriptor_limit() -> int:
    """As many descriptors as this user may have; returns how many that was before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def end(pid: int) -> None:
    """Kills a child; returns once it is gone. One that has been waited for is."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def describe_exit(status: int) -> str:
    """`exit 1` or `signal SIGKILL`, of a wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"signal {signal.Signals(number).name}"
        except ValueError:
            return f"signal {number}"
    return f"exit {os.WEXITSTATUS(status)}"
