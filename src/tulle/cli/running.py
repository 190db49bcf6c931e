"""The meshes that run here, and how to ask one."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tulle.cli.supervisors import supervisor_pid, supervisors
from tulle.cli.words import Exit, Failure
from tulle.kit import paths

if TYPE_CHECKING:
    from tulle.http.exchange import Reply
    from tulle.wire.status import NodeStatus

T = TypeVar("T")

RESTART_SECONDS = 5.0
"""An agent that has ended answers again by then, on a slow box too."""
NOT_YET = 0
"""The pid of a supervisor that is being started."""


@dataclass(frozen=True, slots=True)
class Running:
    """A mesh whose supervisor runs."""

    name: str
    supervisor_pid: int
    """NOT_YET while it is being started: then nothing is waited for."""

    @classmethod
    def starting(cls, name: str) -> "Running":
        """A mesh whose supervisor is perhaps not there yet; whoever asks asks again by itself."""
        return cls(name, NOT_YET)

    def get(self, target: str, type: type[T], *, timeout: float = 30.0) -> T:
        """A document from the agent."""
        return self._document(self.ask("GET", target, timeout=timeout), type)

    def status(self, wait: float) -> "NodeStatus":
        """How the node is: now, or as soon as it is ready, or once so many seconds are over, whatever agents end meanwhile."""
        from tulle.wire.status import NodeStatus

        end = time.monotonic() + wait
        while True:
            left = max(end - time.monotonic(), 0.0)
            target = f"/status?ready={left:.3f}" if left else "/status"
            try:
                return self.get(target, NodeStatus, timeout=left + 10.0)
            except Failure as fault:
                if fault.code != "agent-silent" or time.monotonic() >= end or not self.is_supervised:
                    raise

    def text(self, target: str) -> bytes:
        """A text from the agent."""
        reply = self.ask("GET", target)
        if not reply.is_ok:
            raise _refusal(reply)
        return reply.body

    def post(self, target: str, body: bytes, type: type[T]) -> T:
        """What the agent made of it; also of what it refused, when it says so in the same document."""
        return self._document(self.ask("POST", target, body), type)

    def ask(self, method: str, target: str, body: bytes = b"", *, timeout: float = 30.0) -> "Reply":
        """One request to the agent. One that is just being started again is waited for."""
        from tulle.http.client import ResponseError, request

        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                return request(self._socket(), method, target, body, timeout=timeout)
            except (ConnectionRefusedError, FileNotFoundError) as fault:  # nobody has heard it
                if time.monotonic() >= deadline or not self.is_supervised:
                    raise self._silent(fault) from fault
                time.sleep(0.05)
            except (OSError, ResponseError) as fault:
                raise self._silent(fault, is_change=method == "POST") from fault

    @property
    def is_supervised(self) -> bool:
        """False once the mesh has ended, or was started anew."""
        return self.supervisor_pid != NOT_YET and supervisor_pid(self.name) == self.supervisor_pid

    def lines(self, target: str) -> Iterator[bytes]:
        """Lines from the agent as they come, once it has agreed to send some."""
        from tulle.http.client import RefusedError, ResponseError, UnixConnection

        try:
            lines = UnixConnection(self._socket()).lines(target)
        except RefusedError as fault:
            raise _refusal(fault.reply) from fault
        except (OSError, ResponseError) as fault:
            raise self._silent(fault) from fault
        return self._heard(lines)

    def _heard(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        from tulle.http.exchange import ResponseError

        try:
            yield from lines
        except (OSError, ResponseError) as fault:
            raise self._silent(fault) from fault

    def _socket(self) -> Path:
        return paths.agent_socket(self.name, create=False)

    def _silent(self, fault: Exception, *, is_change: bool = False) -> Failure:
        doubt = "it may have heard the change: `tulle history` tells. " if is_change else ""
        return Failure(
            "agent-silent",
            f"mesh `{self.name}` runs, but its agent does not answer: {fault}",
            hint=f"{doubt}traffic is not touched; `tulle logs --mesh {self.name} agent` may say why",
        )

    def _document(self, reply: "Reply", type: type[T]) -> T:
        import msgspec

        try:
            return msgspec.json.decode(reply.body, type=type)
        except msgspec.MsgspecError:
            raise _refusal(reply) from None


def running(mesh: str | None) -> Running:
    """The mesh of that name, or the only one."""
    found = all_running()
    if mesh is not None:
        for one in found:
            if one.name == mesh:
                return one
        names = ", ".join(one.name for one in found)
        raise Failure(
            "no-such-mesh",
            f"no mesh named `{mesh}` runs here",
            hint=f"there runs: {names}" if names else "start one: `tulle up mesh.yaml`",
            exit=Exit.NOT_RUNNING,
        )
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(one.name for one in found)
        raise Failure("which-mesh", f"several meshes run here: {names}", hint="say which: --mesh NAME", exit=Exit.USAGE)
    raise Failure("no-mesh", "no mesh runs here", hint=_start_one(), exit=Exit.NOT_RUNNING)


def _start_one() -> str:
    from tulle.cli.scope import Scope

    scope = Scope.ours()
    if units := [scope.unit(mesh).name for mesh in scope.installed()]:
        return f"installed is {', '.join(units)}: `{' '.join(scope.systemctl)} start {units[0]}`"
    of_root = "; if root's is meant, ask as root" if os.getuid() and Path(_OF_ROOT).exists() else ""
    return f"start one: `tulle up mesh.yaml`{of_root}"


_OF_ROOT = "/run/tulle"
"""Root's meshes have their sockets there, closed to all others."""


def all_running() -> list[Running]:
    """By name."""
    return [Running(name, pid) for name, pid in supervisors().items()]


def _refusal(reply: "Reply") -> Failure:
    import json

    try:
        message = json.loads(reply.body)["error"]
    except (ValueError, KeyError, TypeError):
        message = reply.body.decode(errors="replace") or f"status {reply.status}"
    return Failure("refused", str(message))
