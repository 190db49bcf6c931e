"""Stands in for the proxy: keeps what it is handed, tells the test, and does single things that the test asks for.

With --uid it drops its privileges exactly as the proxy does.
"""

import argparse
import json
import os
import select
import socket
from pathlib import Path
from typing import Any

from tulle.kit import privileges

PATIENCE_SECONDS = 50
"""Less than the test has: it hears who did not come."""


class FakeProxy:
    """One JSON object a line to the test: facts as they come, answers to what it asks."""

    def __init__(self, said: argparse.Namespace) -> None:
        self.control = socket.socket(fileno=said.control_fd)
        self.broker = socket.socket(fileno=said.broker_fd)
        self.memory = said.memory_fd
        self.listeners: dict[str, socket.socket] = {}
        self.test = socket.socket(socket.AF_UNIX)
        self.test.connect(os.environ["TULLE_TEST_PROXY"])
        self.asked = self.test.makefile("r")
        self.number = int.from_bytes(os.urandom(4), "big")

    def run(self) -> None:
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.test, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self.control.fileno():
                    if not self.hear():
                        return
                elif not self.serve():
                    return

    def hear(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self.control, 4096, 1)
        if not message:
            return False
        told = json.loads(message)
        if descriptors:
            self.listeners[told["name"]] = socket.socket(fileno=descriptors[0])
        elif told["kind"] in ("gone", "no-address"):
            self.listeners.pop(told["name"]).close()
        self.say({"told": [told["kind"], told["name"]]})
        return True

    def serve(self) -> bool:
        line = self.asked.readline()
        if not line:
            return False
        question = json.loads(line)
        try:
            answer = getattr(self, "do_" + question.pop("do"))(**question)
        except OSError as fault:
            answer = {"error": type(fault).__name__}
        self.say({"answer": answer})
        return True

    def do_status(self) -> dict[str, str]:
        lines = Path("/proc/self/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def do_broker(self, pod: str, family: int) -> dict[str, Any]:
        made = self.ask_broker(pod, family)
        if isinstance(made, socket.socket):
            made.close()
            return {"made": True}
        return made

    def do_broker_hears(self, text: str) -> str:
        """What the broker answers to octets, given as Latin-1; nothing of them need be a request."""
        self.broker.settimeout(PATIENCE_SECONDS)
        socket.send_fds(self.broker, [text.encode("latin-1")], [0, 1, 2])
        return self.broker.recv(4096).decode()

    def do_dial(self, pod: str, port: int, text: str, family: int = 4) -> str:
        made = self.ask_broker(pod, family)
        assert isinstance(made, socket.socket), made
        with made:
            made.settimeout(PATIENCE_SECONDS)
            made.connect(("127.0.0.1" if family == 4 else "::1", port))
            made.sendall(text.encode())
            made.shutdown(socket.SHUT_WR)
            return made.makefile("r").read()

    def do_accept(self, name: str, reply: str) -> dict[str, Any]:
        listener = self.listeners[name]
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        if not poll.poll(PATIENCE_SECONDS * 1000):
            return {"error": "nobody came"}
        connection, _ = listener.accept()
        with connection:
            meant = original_destination(connection)
            connection.sendall(reply.encode())
            return {
                "meant": [socket.inet_ntoa(meant[4:8]), int.from_bytes(meant[2:4], "big")] if meant else [],
                "at": list(connection.getsockname()[:2]),
            }

    def do_listeners(self) -> list[str]:
        return sorted(self.listeners)

    def do_remember(self, text: str) -> None:
        os.pwrite(self.memory, text.encode(), 0)

    def do_recall(self) -> str:
        return os.pread(self.memory, 1000, 0).decode()

    def ask_broker(self, pod: str, family: int) -> socket.socket | dict[str, Any]:
        self.number += 1
        self.broker.settimeout(PATIENCE_SECONDS)
        self.broker.send(json.dumps({"id": self.number, "pod": pod, "family": family}).encode())
        while True:
            message, descriptors, _, _ = socket.recv_fds(self.broker, 4096, 1)
            answer: dict[str, Any] = json.loads(message)
            if answer.get("id") == self.number:
                return socket.socket(fileno=descriptors[0]) if descriptors else answer

    def say(self, what: dict[str, Any]) -> None:
        self.test.sendall(json.dumps(what).encode() + b"\n")


def original_destination(connection: socket.socket) -> bytes:
    """As the kernel gives it; empty where nothing was redirected."""
    try:
        return connection.getsockopt(socket.SOL_IP, 80, 16)
    except OSError:
        return b""


def main() -> None:
    arguments = argparse.ArgumentParser()
    for name in ("control", "broker", "admin", "metrics", "memory", "diag", "access"):
        arguments.add_argument(f"--{name}-fd", type=int)
    arguments.add_argument("--successor", action="store_true")
    arguments.add_argument("--uid", type=int)
    arguments.add_argument("--gid", type=int)
    said = arguments.parse_args()
    proxy = FakeProxy(said)
    privileges.drop(said.uid, said.gid)
    proxy.run()


if __name__ == "__main__":
    main()
