"""A process that does nothing but fork. The broker and the first processes of pods come from it, so that they share what they do not write.

The supervisor writes to half of its pages as it works, counts of references if nothing else, and a child of its own is left
alone with the old ones. The stem is as it was when it was forked, and what comes from it stays that way. What it
forks is the supervisor's child: a helper in between ends at once, and the supervisor adopts orphans.
"""

import contextlib
import errno
import marshal
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tulle.kit import privileges, seccomp
from tulle.supervisor import broker, init, tree
from tulle.supervisor.fork import end, fork, take_name
from tulle.supervisor.launch import Dialling, Order, carry_out
from tulle.supervisor.loop import Loop
from tulle.supervisor.user import Identity
from tulle.wire.plan import ContainerSpec, Readiness

if TYPE_CHECKING:
    from tulle.supervisor.container import Container

STEM, BROKER, POD = "tulle-stem", "tulle-broker", "tulle-pod"
"""As `ps` shows them."""
_POD, _CONTAINER, _BROKER = b"pod", b"container", b"broker"
_ANSWER_SECONDS = 5.0
_ADOPTION_SECONDS = 0.0002
_MAX_DESCRIPTORS = 8


class Stem:
    """The supervisor's side. Forked when first needed, and anew when it has ended."""

    def __init__(self, loop: Loop, say: Callable[[str], None], patience: float = _ANSWER_SECONDS) -> None:
        """`patience`: seconds after which one that does not answer is given up."""
        self._loop = loop
        self._say = say
        self._patience = patience
        self._pid = 0
        self._link: socket.socket | None = None

    def launch(self, order: Order, link: socket.socket) -> int:
        """`launch.launch`, from the stem. Raises OSError."""
        document = os.memfd_create("tulle-order", os.MFD_CLOEXEC)
        try:
            os.write(document, marshal.dumps(_plain(order)))
            kind = _CONTAINER if order.container else _POD
            return self._fork(kind, document, link.fileno(), order.service.stdout, order.service.stderr)
        finally:
            os.close(document)

    def fork_broker(self, news: socket.socket, requests: Sequence[socket.socket]) -> int:
        """A child that is the broker, and its pid. Raises OSError."""
        return self._fork(_BROKER, news.fileno(), *(one.fileno() for one in requests))

    def stop(self) -> None:
        """Ends it, and returns once it is gone; what came from it goes on."""
        self._let_go()
        if self._pid:
            end(self._pid)

    def _fork(self, kind: bytes, *descriptors: int) -> int:
        try:
            return self._ask(kind, descriptors)
        except (ConnectionError, TimeoutError):
            return self._ask(kind, descriptors)  # another stem

    def _ask(self, kind: bytes, descriptors: Sequence[int]) -> int:
        link = self._link or self._start()
        try:
            socket.send_fds(link, [kind], descriptors)
            return _answer(link)
        except (ConnectionError, TimeoutError):
            if pid := self._give_up(link):
                return pid
            raise

    def _give_up(self, link: socket.socket) -> int:
        """The stem has ended, or hangs. Returns what it has told of by now; 0: nothing comes any more of what it was asked."""
        self._link = None
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
        with link, contextlib.suppress(ConnectionError):
            link.shutdown(socket.SHUT_RD)  # a helper that would tell later cannot, and ends what it has forked
            return _answer(link)
        return 0

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        with theirs:
            try:
                pid = self._pid = fork(lambda: _serve(theirs, parent), (theirs.fileno(),))
            except OSError:
                ours.close()
                raise
        ours.settimeout(self._patience)
        self._link = ours
        self._loop.child(pid, lambda _: self._ended(pid, ours))
        return ours

    def _ended(self, pid: int, link: socket.socket) -> None:
        """Nothing waits for it: whoever needs one next has it forked."""
        if self._pid == pid:
            self._pid = 0
        if self._link is link:
            self._say("the process that forks pods ended; another is forked when it is needed")
            self._let_go()

    def _let_go(self) -> None:
        if self._link:
            self._link.close()
            self._link = None


def _answer(link: socket.socket) -> int:
    """The pid that is told. Raises OSError, why nothing was forked: ConnectionResetError where nothing is told any more."""
    said = link.recv(64)
    if not said:
        raise ConnectionResetError(errno.ECONNRESET, "the process that forks pods has ended")
    number = int(said)
    if number < 0:
        raise OSError(-number, os.strerror(-number))
    return number


def _serve(link: socket.socket, supervisor: int) -> None:
    """The stem itself. Ends when the supervisor closes `link`, or ends."""
    privileges.die_with(supervisor)
    take_name(STEM)
    with contextlib.suppress(OSError):
        seccomp.assemble(os.uname().machine)  # once, not in every pod
    while True:
        kind, descriptors, _, _ = socket.recv_fds(link, 16, _MAX_DESCRIPTORS)
        for one in descriptors:
            os.set_inheritable(one, False)
        if not kind:
            return
        if kind == _CONTAINER:
            _learn_containers()
        try:
            helper = os.fork()
        except OSError as fault:
            _tell(link, fault)
        else:
            if not helper:
                _help(kind, descriptors, link, supervisor)
            os.waitpid(helper, 0)
        for one in descriptors:
            os.close(one)


def _learn_containers() -> None:
    """Once: then all of them share it, and what starts later is of the same code, whatever lies on the disk by then."""
    from tulle.supervisor import container, container_init, container_mounts  # noqa: F401


def _help(kind: bytes, descriptors: list[int], link: socket.socket, supervisor: int) -> None:
    """The helper: forks, tells, ends."""
    helper = os.getpid()

    def run() -> None:
        while os.getppid() == helper:
            time.sleep(_ADOPTION_SECONDS)
        _become(kind, descriptors, supervisor)

    made: int | OSError
    try:
        made = fork(run, descriptors)
    except OSError as fault:
        made = fault
    try:
        _tell(link, made)
    except OSError:  # the supervisor has given up this stem: another does what it was asked
        if isinstance(made, int):
            os.kill(made, signal.SIGKILL)
    finally:
        os._exit(0)


def _tell(link: socket.socket, made: int | OSError) -> None:
    """A pid, or why there is none. Raises OSError where nobody listens."""
    number = -(made.errno or errno.EAGAIN) if isinstance(made, OSError) else made
    link.send(str(number).encode(), socket.MSG_NOSIGNAL)


def _become(kind: bytes, descriptors: list[int], supervisor: int) -> None:
    """Once the supervisor is the parent, or has ended."""
    if kind == _BROKER:
        privileges.die_with(supervisor)
        take_name(BROKER)
        news, *requests = (socket.socket(fileno=one) for one in descriptors)
        broker.serve(news, requests)
    else:
        take_name(POD)
        document, link, stdout, stderr = descriptors
        carry_out(_read(document, stdout, stderr), socket.socket(fileno=link), supervisor)


def _plain(value: Any) -> Any:
    """`marshal` knows no tuples with names: who reads it knows which they are."""
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def _read(document: int, stdout: int, stderr: int) -> Order:
    text = os.pread(document, os.fstat(document).st_size, 0)
    service, dialling, container = marshal.loads(text)  # noqa: S302  (from the supervisor, whose image this is)
    os.close(document)
    return Order(
        service=_read_service(service, stdout, stderr),
        dialling=Dialling(*dialling) if dialling is not None else None,
        container=_read_container(container) if container is not None else None,
    )


def _read_service(fields: list[Any], stdout: int, stderr: int) -> init.Service:
    argv, env, cwd, who, view, hostname, readiness, _, _, *rest = fields
    return init.Service(
        argv,
        env,
        cwd,
        Identity(*who),
        tree.View(*view) if view is not None else None,
        hostname,
        Readiness(*readiness) if readiness is not None else None,
        stdout,
        stderr,
        *rest,
    )


def _read_container(fields: list[Any]) -> "Container":
    from tulle.supervisor.container import Container
    from tulle.supervisor.container_mounts import Ground

    container = Container(*fields)
    return container._replace(spec=ContainerSpec(*container.spec), ground=Ground(*container.ground))
