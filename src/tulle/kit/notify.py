"""Tells the systemd unit that runs this process how it goes. Costs nothing where no unit listens."""

import contextlib
import os
import socket
from collections.abc import MutableMapping

_MICROSECONDS = 1_000_000


class Unit:
    """The unit of this process, or nobody: the protocol of sd_notify(3), in datagrams."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Takes what concerns it out of the environment: nothing that this process starts may speak for it."""
        address = environment.pop("NOTIFY_SOCKET", "")
        timeout, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        self._socket = _connected(address)
        is_watched = self._socket is not None and timeout.isdecimal() and pid in ("", str(os.getpid()))
        self.watchdog_seconds = int(timeout) / _MICROSECONDS if is_watched else 0.0
        """Without a word for so long the unit is ended; 0: nobody watches."""
        self._status = ""

    @property
    def listens(self) -> bool:
        """Whether anybody hears what is said."""
        return self._socket is not None

    def ready(self) -> None:
        """What comes after this unit may start."""
        self._say("READY=1")

    def stopping(self) -> None:
        """It ends on purpose."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """To be said more often than `watchdog_seconds`."""
        self._say("WATCHDOG=1")

    def status(self, words: str) -> None:
        """One line for `systemctl status`; said when it differs from the last."""
        if words != self._status:
            self._status = words
            self._say(f"STATUS={words}")

    def close(self) -> None:
        """Nothing more will be said."""
        if self._socket is not None:
            self._socket.close()

    def _say(self, words: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # systemd is being started anew, or its queue is full
                self._socket.send(words.encode())


def _connected(address: str) -> socket.socket | None:
    """A leading @ means a name that is no path."""
    if not address.startswith(("/", "@")):
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        sock.close()
        return None
    return sock
