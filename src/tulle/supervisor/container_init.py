"""Process 1 of a container's pod: has podman start the container, gives up what it held, and watches as any pod's pid 1 does.

podman itself is gone once the container runs; its conmon stays as a child of this process, in an empty network. Whatever
ends this process ends both with it, since they live in its PID namespace.
"""

import contextlib
import os
import select
import signal
import socket
import time

from tulle.kit import mounts, privileges, seccomp
from tulle.supervisor import words
from tulle.supervisor.container import Container, Ready
from tulle.supervisor.container_mounts import lay_out, take
from tulle.supervisor.container_podman import Answer, ask
from tulle.supervisor.container_workshop import (
    WORKSHOP,
    confining_arguments,
    leave_network,
    make_workshop,
    seal_all_but_workshop,
    workshop_arguments,
    workshop_environment,
)
from tulle.supervisor.init import Init, Service
from tulle.supervisor.steps import StepFailed, step

_EXITS, _PID_FILE, _IMAGES = f"{WORKSHOP}/libpod/exits", f"{WORKSHOP}/pid", f"{WORKSHOP}/images"
_ENVIRONMENT = f"{WORKSHOP}/env"
_NAME = "service"
_CANNOT_RUN, _NO_PROGRAM = 126, 127
"""podman's codes for a program that cannot be run, and one that is not there."""
_PATIENCE_SECONDS = 5.0
"""For conmon to say how the container ended."""


def run(service: Service, container: Container, ready: Ready, link: socket.socket) -> None:
    """Lives as long as the container. `link` leads to the supervisor; its end is the end."""
    if words.receive_plain(link) != words.GO:
        return
    privileges.die_with(0)  # a parent outside of the pid namespace has number 0
    try:
        _Keeper(service, container, ready, link).run()
    except StepFailed as fault:
        words.send(link, words.IMPOSSIBLE, fault.step, fault.why)


class _Keeper(Init):
    def __init__(self, service: Service, container: Container, ready: Ready, link: socket.socket) -> None:
        super().__init__(service, link)
        self._container = container
        self._ready = ready
        self._process = -1
        """A descriptor of the container's first process."""

    def _start(self) -> str:
        env = workshop_environment()
        shown = self._lay_out()
        with step("container"):
            options = [*self._options(), *self._variables(env), *shown]
        podman = [
            *workshop_arguments(self._ready.box),
            *("--storage-opt", f"{self._ready.box.driver}.imagestore={_IMAGES}"),
        ]
        command = [*podman, "run", "--detach", "--replace", *options, self._ready.image, *self._service.argv]
        with step("container"):
            outputs = self._service.stdout, self._service.stderr
            if ask(command, env, outputs=outputs, before=leave_network).code:
                return self._refusal(ask(command, env, before=leave_network))
        with step("container"):
            if not self._find():
                self._ended = _told(ask([*podman, "wait", _NAME], env, before=leave_network)) or _how_it_ended()
            self._give_up()
        return ""

    def _lay_out(self) -> list[str]:
        """Makes this mount namespace podman's workshop; returns the options by which the container has what is mounted."""
        ready = self._ready
        with step("private-mounts"):
            mounts.keep_to_ourselves()
        with step("mounts"):
            images, *trees = mounts.copy(ready.box.images), *take(ready.mounts)
        with step("proc"):
            mounts.mount("proc", "/proc", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)
        with step("tmpfs"):
            make_workshop(ready.box)
        with step("read-only-tree"):
            seal_all_but_workshop()
        with step("mounts"):
            os.mkdir(_IMAGES, 0o700)
            mounts.seal_tree(images)
            mounts.attach(images, _IMAGES)
            return lay_out(ready.mounts, trees, ready.sealed, f"{WORKSHOP}/mounts")

    def _options(self) -> list[str]:
        service, spec, box = self._service, self._container.spec, self._ready.box
        options = [
            *("--name", _NAME, "--hostname", service.hostname, "--pidfile", _PID_FILE, "--user", self._ready.user),
            *confining_arguments(box, self._container.cgroup, service.descriptors),
        ]
        if box.limits and spec.memory:
            options.append(f"--memory={spec.memory}")
        if box.limits and spec.cpus:
            options.append(f"--cpus={spec.cpus:g}")
        return options

    def _variables(self, env: dict[str, str]) -> list[str]:
        """Options by which the container has its variables. No value is among them: everybody on the box may read a command."""
        options = [f"--env-file={_ENVIRONMENT}"]
        with open(_ENVIRONMENT, "w", encoding="utf-8") as lines:
            for number, (name, value) in enumerate(self._service.env.items()):
                if "\n" not in value:
                    lines.write(f"{name}={value}\n")
                    continue
                secret = f"variable{number}"
                with open(f"{WORKSHOP}/{secret}", "w", encoding="utf-8") as file:
                    file.write(value)
                podman = workshop_arguments(self._ready.box)
                made = ask([*podman, "secret", "create", secret, file.name], env, before=leave_network)
                if made.code:
                    raise StepFailed("container", f"{name}: {made.last_words}")
                options.append(f"--secret={secret},type=env,target={name}")
        return options

    def _refusal(self, again: Answer) -> str:
        """What podman said, asked once more: the first time its words went where the service's go."""
        if again.code in (_CANNOT_RUN, _NO_PROGRAM):
            return f"podman cannot start it: {again.last_words}"
        if not again.code:
            return "podman failed once, and then did not; its words are in the log"
        raise StepFailed("container", again.last_words)

    def _find(self) -> bool:
        """Finds the container's first process. False: it has ended already.

        Of one that ends later the file stays that says how. conmon would have podman clean up, which removes it, read or not;
        from now on it finds no podman here. The end of this namespace is the clean-up.
        """
        path = os.path.realpath(self._ready.box.podman)
        podman = mounts.copy(path)
        mounts.attach(mounts.copy("/dev/null"), path)
        with open(_PID_FILE, encoding="ascii") as file:
            self._pid = int(file.read())
        with contextlib.suppress(ProcessLookupError):
            self._process = os.pidfd_open(self._pid)
            self._poll.register(self._process, select.POLLIN)
        if self._has_ended():
            mounts.attach(podman, path)
            return False
        os.close(podman)
        return True

    def _has_ended(self) -> bool:
        return self._process < 0 or bool(select.select([self._process], [], [], 0)[0])

    def _give_up(self) -> None:
        """From now on it signals the container's first process, reads how it ended, and asks its port; nothing else."""
        privileges.bound_capabilities(())
        privileges.hold_capabilities((privileges.CAP_KILL,))
        privileges.refuse_new_privileges()
        seccomp.confine()
        privileges.hide_memory()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not self._ended and self._has_ended():
            self._ended = _how_it_ended()

    def _forward(self, number: int, _frame: object) -> None:
        if self._process >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)

    def _finish(self) -> None:
        """The namespace ends with this process, and all in it."""


def _told(answer: Answer) -> str:
    """What `podman wait` says; empty: nothing."""
    return _described(int(answer.out)) if not answer.code and answer.out.strip().isdigit() else ""


def _how_it_ended() -> str:
    """As conmon writes it down: the code, or 128 and the number of a signal."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            for name in os.listdir(_EXITS):
                with open(f"{_EXITS}/{name}", encoding="ascii") as file:
                    return _described(int(file.read()))
        select.select([], [], [], 0.01)
    return "an end that podman does not tell of"


def _described(code: int) -> str:
    with contextlib.suppress(ValueError):
        if code > 128:
            return f"exit {code} ({signal.Signals(code - 128).name})"
    return f"exit {code}"
