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
    """One SOCK_SEQPACKET connection; answers may come in any order and late.

    A broker that dies takes questions with it: the supervisor forks another, says so, and they are asked again. One that was
    answered twice for that keeps its first answer.
    """

    def __init__(self, link: socket.socket, report: Callable[[str], None]) -> None:
        link.setblocking(False)
        self._link = link
        self._report = report
        self._next = getrandbits(48)
        self._waiting: dict[int, tuple[asyncio.Future[socket.socket], bytes]] = {}
        """By number: who waits, and the question."""
        self._unsent: deque[int] = deque()
        """Questions for which the link had no room yet."""
        self._lost = ""
        """Why no answer can come any more; empty while one can."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes answers from now on."""
        loop.add_reader(self._link.fileno(), self._read, loop)

    async def make_socket(self, pod: str, family: int) -> socket.socket:
        """An unconnected, non-blocking TCP socket in the pod's network; `family` is 4 or 6. Raises OSError."""
        if self._lost:
            raise BrokerRefused(self._lost)
        loop = asyncio.get_running_loop()
        self._next += 1
        number = self._next
        answer: asyncio.Future[socket.socket] = loop.create_future()
        self._waiting[number] = answer, json.dumps({"id": number, "pod": pod, "family": family}).encode()
        try:
            self._ask(number, loop)
            return await answer
        finally:
            del self._waiting[number]

    def ask_again(self) -> None:
        """Another broker serves: asks it what the one before has not answered."""
        loop = asyncio.get_running_loop()
        for number in list(self._waiting):
            if number not in self._unsent:
                self._ask(number, loop)

    def _ask(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._unsent.append(number)
        if len(self._unsent) == 1:
            self._send(loop)

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sends what there is room for, in order; what nobody waits for any more is left out."""
        unsent = self._unsent
        while unsent:
            waiting, question = self._waiting.get(unsent[0], _NOBODY)
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
            self._lose(f"the broker's socket broke: {fault}", loop)
            return
        if not message and not descriptors:
            self._lose("the supervisor closed the broker's socket", loop)
            return
        sockets = [socket.socket(fileno=one) for one in descriptors]
        try:
            said = json.loads(message)
            waiting, _ = self._waiting.get(said["id"], _NOBODY)
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

    def _lose(self, why: str, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing comes any more: whoever waits learns it now, not at its deadline."""
        self._report(why)
        self._lost = why
        loop.remove_reader(self._link.fileno())
        for waiting, _ in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(BrokerRefused(why))


_NOBODY: tuple[asyncio.Future[socket.socket] | None, bytes] = (None, b"")
