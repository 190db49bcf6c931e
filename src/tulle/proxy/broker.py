"""Asks the broker for sockets made inside pods."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections import deque
from collections.abc import Callable
from random import getrandbits
from typing import Final, final

from tulle.proxy.loop import READ, WRITE, Dispatcher, Watched

FAMILIES: Final = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
_STREAM: Final = int(socket.SOCK_STREAM)
MAX_TAILS: Final = 4096


class Question:
    """For a socket in a pod's network."""

    def __init__(self) -> None:
        self.number = -1
        """Set while it waits for its answer."""
        self.pod = ""
        self.family = 4
        """4 or 6."""

    def on_made(self, sock: socket.socket | None) -> None:
        """The answer: an unconnected, non-blocking TCP socket, or None where there is none to be had."""
        raise NotImplementedError


@final
class BrokerClient(Watched):
    """One SOCK_SEQPACKET connection; answers may come in any order and late.

    A broker that dies takes questions with it: the supervisor forks another, says so, and they are asked again. One that was
    answered twice for that keeps its first answer.
    """

    def __init__(self, dispatcher: Dispatcher, link: socket.socket, report: Callable[[str], None]) -> None:
        super().__init__(link)
        link.setblocking(False)
        self._dispatcher = dispatcher
        self._report = report
        self._next = getrandbits(48)
        self._waiting: dict[int, Question] = {}
        """By number."""
        self.unsent: deque[int] = deque()
        """Numbers of questions for which the link had no room yet, and of some that nobody waits for any more."""
        self._tails: dict[tuple[str, int], bytes] = {}
        """What questions say behind their numbers, by pod and family."""
        self._is_lost = False
        """No answer can come any more."""

    def start(self) -> None:
        """Takes answers from now on."""
        self._dispatcher.watch(self, READ)

    def ask(self, question: Question, pod: str, family: int) -> None:
        """Has `on_made` called, perhaps before it returns."""
        if self._is_lost:
            question.on_made(None)
            return
        self._next += 1
        number = question.number = self._next
        question.pod = pod
        question.family = family
        self._waiting[number] = question
        self.unsent.append(number)
        if len(self.unsent) == 1:
            self._send()

    def forget(self, question: Question) -> None:
        """Its answer is of no use any more. No fault when it does not wait."""
        self._waiting.pop(question.number, None)
        if len(self.unsent) > 2 * len(self._waiting):  # else they would grow for as long as a broker reads nothing
            left = [number for number in self.unsent if number in self._waiting]
            self.unsent.clear()
            self.unsent.extend(left)

    def ask_again(self) -> None:
        """Another broker serves: asks it what the one before has not answered."""
        was_idle = not self.unsent
        unsent = set(self.unsent)
        self.unsent.extend([number for number in self._waiting if number not in unsent])
        if was_idle and self.unsent:
            self._send()

    def on_event(self, mask: int) -> None:
        """Takes the answers that there are, and asks what waited for room."""
        if mask & ~WRITE:
            for _ in range(max(1, len(self._waiting))):
                if not self._read():
                    break
        if mask & WRITE and not self._is_lost:
            self._send()

    def on_failure(self) -> None:
        """A defect within an answer: the link stays."""

    def _send(self) -> None:
        """Sends what there is room for, in order; what nobody waits for any more is left out."""
        unsent = self.unsent
        while unsent:
            question = self._waiting.get(unsent[0])
            if question is not None:
                try:
                    self.sock.send(b'{"id": %d%b' % (question.number, self._tail(question)))
                except BlockingIOError:
                    self._dispatcher.expect(self, READ | WRITE)
                    return
                except OSError:
                    unsent.popleft()
                    self._answer(question, None)
                    continue
            unsent.popleft()
        self._dispatcher.expect(self, READ)

    def _tail(self, question: Question) -> bytes:
        key = (question.pod, question.family)
        tail = self._tails.get(key)
        if tail is None:
            if len(self._tails) >= MAX_TAILS:
                self._tails.clear()
            tail = json.dumps({"pod": question.pod, "family": question.family}).replace("{", ", ", 1).encode()
            self._tails[key] = tail
        return tail

    def _read(self) -> bool:
        """Takes one answer. False: there was none."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self.sock, 4096, 4)
        except BlockingIOError:
            return False
        except OSError as fault:
            self._lose(f"the broker's socket broke: {fault}")
            return False
        if not message and not descriptors:
            self._lose("the supervisor closed the broker's socket")
            return False
        question: Question | None = None
        try:
            question = self._waiting.get(json.loads(message)["id"])
        except (ValueError, KeyError, TypeError) as fault:
            self._report(f"the broker said what it should not: {fault}")
        made: socket.socket | None = None
        if question is not None and descriptors:
            made = _taken(descriptors.pop(), FAMILIES[question.family])
        for one in descriptors:
            os.close(one)
        if question is not None:
            self._answer(question, made)
        return True

    def _answer(self, question: Question, made: socket.socket | None) -> None:
        self._waiting.pop(question.number, None)
        question.number = -1
        try:
            question.on_made(made)
        except Exception:  # noqa: BLE001  (one defect must not keep the others waiting)
            self._dispatcher.defect(None)

    def _lose(self, why: str) -> None:
        """Nothing comes any more: whoever waits learns it now, not at its deadline."""
        self._report(why)
        self._is_lost = True
        self._dispatcher.hush(self)
        for question in list(self._waiting.values()):
            self._answer(question, None)


def _taken(fd: int, family: int) -> socket.socket | None:
    """The socket that came, as what was asked for; None when it is something else."""
    try:
        made = socket.socket(family, _STREAM, 0, fd)
    except OSError as fault:
        if fault.errno != errno.EBADF:
            os.close(fd)
        return None
    made.setblocking(False)
    return made
