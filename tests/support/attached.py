"""Real processes of several users and control groups, each of which dials, listens and plays its part when told.

Users need no names: the kernel knows numbers. Nothing outside the test's own group of the cgroup2 tree is touched.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401  (what connects by a name needs it, and these users may not read where Python lies)
import os
import pickle
import signal
import socket
import struct
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

WEB, EVIL, ORDERS, ROOT = 64001, 64002, 64003, 0
"""Users that no account and no other test has."""


def cgroup2_tree() -> Path:
    """Where the cgroup2 tree is mounted on this box."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise AssertionError("this box has no cgroup2 tree")


@contextlib.contextmanager
def groups(*names: str) -> Iterator[dict[str, Path]]:
    """Control groups of this test, empty; removed in the end."""
    own = cgroup2_tree() / f"tulle-test-{os.getpid()}"
    own.mkdir()
    made = {name: own / name for name in names}
    for group in made.values():
        group.mkdir()
    try:
        yield made
    finally:
        for group in sorted(own.rglob("*"), reverse=True):
            if group.is_dir():
                group.rmdir()
        own.rmdir()


def id_of(group: Path) -> int:
    """As sock_diag gives it."""
    return group.stat().st_ino


class Actor:
    """A process of its own that does what it is asked, one thing after the other: `run` a function with its state."""

    def __init__(self, uid: int = 0, group: Path | None = None, prepare: Callable[[], None] | None = None) -> None:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            _play(theirs, uid, group, prepare)
        theirs.close()
        assert self.run(_nothing) is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls `function(state, *arguments)` there; `state` is a dict that it keeps. Returns what it returned."""
        self._link.send(pickle.dumps((function, arguments)))
        answer = self._link.recv(1 << 18)
        assert answer, "the process has ended"
        is_fine, value = pickle.loads(answer)
        assert is_fine, value
        return value

    def end(self) -> None:
        """Kills it; what it held is closed by the kernel."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            self._link.close()


def _play(link: socket.socket, uid: int, group: Path | None, prepare: Callable[[], None] | None) -> None:
    """Never returns."""
    try:
        for fd in range(3, 4096):
            if fd != link.fileno():
                with contextlib.suppress(OSError):
                    os.close(fd)
        if group is not None:
            move(group)
        if prepare is not None:
            prepare()
        if uid:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        state: dict[str, Any] = {}
        while message := link.recv(1 << 18):
            function, arguments = pickle.loads(message)
            try:
                answer = True, function(state, *arguments)
            except BaseException:  # noqa: BLE001  (told to the test)
                answer = False, traceback.format_exc()
            link.send(pickle.dumps(answer))
    finally:
        os._exit(0)


def _nothing(_: dict[str, Any]) -> None:
    return None


def move(group: Path) -> None:
    """This process goes to that control group."""
    (group / "cgroup.procs").write_text(str(os.getpid()))


def leave_with_reset(sock: socket.socket) -> None:
    """Closes it, so that the peer gets a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
