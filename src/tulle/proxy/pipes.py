"""Octets that go from one socket to another inside the kernel: by pipes, lent for as long as they hold something.

A pipe belongs to nobody, so that a few serve all tunnels and bodies; who is lent none copies. What a pipe holds counts for its user, with
whom the services of an ordinary user's mesh share `/proc/sys/fs/pipe-user-pages-soft` (64 MB): all of ours are a quarter of that.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from typing import Final, final

from tulle.proxy.wheel import NEVER

PIPE_BYTES: Final = 1 << 20
"""What a pipe holds, and so what is moved at once: 0.3 ms, for which others wait.

More the kernel gives no user; half costs a quarter more."""
LEAST_BYTES: Final = 1 << 17
"""One that holds less is not worth its system calls."""
MAX_PIPES: Final = 16
MAX_IDLE: Final = 4
"""Kept open though nothing moves."""
PAUSE: Final = 1.0
"""Seconds without another attempt when the kernel gives none."""
_SET_SIZE: Final = 1031
_FLAGS: Final = 3
"""SPLICE_F_MOVE and SPLICE_F_NONBLOCK."""
_SAYS_NOTHING: Final = (errno.EAGAIN, errno.EINVAL, errno.ENOMEM, errno.ENOTCONN)
"""Errors that leave all there is to say to a read: nothing came, this is moved by no pipe, or is no connection."""


@final
class Pipe:
    """Filled by one socket, emptied into another; both ends do not block."""

    def __init__(self, read_end: int, write_end: int, room: int) -> None:
        self.held = 0
        """Octets in it."""
        self._read_end = read_end
        self._write_end = write_end
        self._room = room

    def fill(self, fd: int, most: int) -> int:
        """Takes what waits at a socket, as much as fits and at most so much. 0: nothing, or what only a read of the socket can tell.

        Raises OSError when the connection broke: the kernel says so once, and an end of the stream to whoever asks after that.
        """
        try:
            moved = os.splice(fd, self._write_end, min(self._room, most), flags=_FLAGS)
        except OSError as fault:
            if fault.errno in _SAYS_NOTHING:
                return 0
            raise
        self.held += moved
        return moved

    def empty(self, fd: int) -> int:
        """Gives a socket as much as it takes. Raises BlockingIOError when that is nothing, OSError when it is broken."""
        moved = os.splice(self._read_end, fd, self.held, flags=_FLAGS)
        self.held -= moved
        return moved

    def close(self) -> None:
        """What it holds is lost."""
        os.close(self._read_end)
        os.close(self._write_end)


@final
class Pipes:
    """Lends them."""

    def __init__(self, make: Callable[[], Pipe | None] | None = None) -> None:
        self.lent = 0
        self._make = make or make_pipe
        self._idle: list[Pipe] = []
        self._not_before = -NEVER

    def lend(self, now: float) -> Pipe | None:
        """An empty one; None: too many are lent, or the kernel gives none."""
        if self._idle:
            self.lent += 1
            return self._idle.pop()
        if self.lent >= MAX_PIPES or now < self._not_before:
            return None
        made = self._make()
        if made is None:
            self._not_before = now + PAUSE
        else:
            self.lent += 1
        return made

    def give_back(self, pipe: Pipe) -> None:
        """It is done with, whatever it still holds."""
        self.lent -= 1
        if pipe.held or len(self._idle) >= MAX_IDLE:
            pipe.close()
        else:
            self._idle.append(pipe)


def make_pipe() -> Pipe | None:
    """One of PIPE_BYTES, or of as much as the kernel lets this user have; None: too little for it to be of use."""
    try:
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # no descriptor left
        return None
    try:
        room = fcntl.fcntl(write_end, _SET_SIZE, PIPE_BYTES)
    except OSError:
        room = 0
    pipe = Pipe(read_end, write_end, room)
    if room < LEAST_BYTES:
        pipe.close()
        return None
    return pipe
