"""Asks the broker for sockets made inside pods."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable
from random import getrandbits


class BrokerRefused(OSError):
    """The broker could not make the socket; the text is its own."""


class BrokerClient:
    """One SOCK_SEQPACKET connection; answers may come in any order, late, or never when a broker died."""

    def __init__(self, link: socket.socket, report: Callable[[str], None]) -> None:
        link.setblocking(False)
        self._link = link
        self._report = report
        self._next = getrandbits(48)
        self._waiting: dict[int, asyncio.Future[socket.socket]] = {}
        self._unsent: deque[tuple[int, bytes]] = deque()
        """Questions for which the link had no room yet."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes answers from now on."""
        loop.add_reader(self._link.fileno(), self._read, loop)

    async def make_socket(self, pod: str, family: int) -> socket.socket:
        """An unconnected, non-blocking TCP socket in the pod's network; `family` is 4 or 6. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._next += 1
        number = self._next
        answer: asyncio.Future[socket.socket] = loop.create_future()
        self._waiting[number] = answer
        try:
            question = {"id": number, "pod": pod, "family": family}
            self._unsent.append((number, json.dumps(question).encode()))
            if len(self._unsent) == 1:
                self._send(loop)
            return await answer
        finally:
            del self._waiting[number]

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sends what there is room for, in order; what nobody waits for any more is left out."""
        unsent = self._unsent
        while unsent:
            number, question = unsent[0]
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                try:
                    self._link.send(question)
                except BlockingIOError:
                    loop.add_writer(self._link.fileno(), self._send, loop)
                    return
                except OSError as fault:
                    waiting.set_exception(fault)
            unsent.popleft()
        loop.remove_writer(self._link.fileno())

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._link, 4096, 4)
        except BlockingIOError:
            return
        except OSError as fault:
            self._report(f"the broker's socket broke: {fault}")
            loop.remove_reader(self._link.fileno())
            return
        if not message and not descriptors:
            self._report("the supervisor closed the broker's socket")
            loop.remove_reader(self._link.fileno())
            return
        sockets = [socket.socket(fileno=one) for one in descriptors]
        try:
            said = json.loads(message)
            waiting = self._waiting.get(said["id"])
            if waiting is None or waiting.done():
                return
            if sockets:
                made = sockets.pop()
                made.setblocking(False)
                waiting.set_result(made)
            else:
                waiting.set_exception(BrokerRefused(str(said.get("error", "no socket"))))
        except (ValueError, KeyError, TypeError) as fault:
            self._report(f"the broker said what it should not: {fault}")
        finally:
            for one in sockets:
                one.close()
