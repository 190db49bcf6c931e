"""Finds out whether this box can make pods, by making one that runs `true`."""

import os
import socket
import sys

from tulle.kit import namespaces, privileges
from tulle.supervisor import launch, words
from tulle.supervisor.command import needed_for
from tulle.supervisor.fork import fork
from tulle.supervisor.init import Service
from tulle.supervisor.steps import Problem, StepFailed, explain, step
from tulle.supervisor.tree import View
from tulle.supervisor.user import LAST_UID, Identity

_PATIENCE_SECONDS = 10.0
_PATH = "/usr/local/bin:/usr/bin:/bin"


def probe_pods() -> Problem | None:
    """Tries the whole sequence in a child: None when it works, else the step that failed, why and what to do."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        pid = fork(lambda: _report(theirs), (theirs.fileno(),))
        theirs.close()
        ours.settimeout(_PATIENCE_SECONDS + 1)
        try:
            answer = words.receive_plain(ours)
        except TimeoutError:
            answer = "init\0the attempt does not end"
        finally:
            ours.close()
            os.waitpid(pid, 0)
    if not answer:
        return explain("init", "the attempt ended without an answer")
    failed_step, _, why = answer.partition("\0")
    return explain(failed_step, why) if failed_step else None


def _report(answer: socket.socket) -> None:
    try:
        _make_pod()
    except StepFailed as fault:
        words.send(answer, fault.step, fault.why)
    except OSError as fault:
        words.send(answer, "init", fault.strerror or str(fault))
    else:
        words.send(answer, "", "")


def _make_pod() -> None:
    if os.getuid() != 0:
        with step("user-namespace"):
            namespaces.enter_user_namespace()
    privileges.adopt_orphans()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with step("init"):
        middle = launch.launch(launch.Order(_service(), launch.Dialling()), theirs)
    theirs.close()
    ours.settimeout(_PATIENCE_SECONDS)
    while True:
        try:
            heard = words.receive(ours)
        except (TimeoutError, ValueError) as fault:
            raise StepFailed("init", str(fault)) from None
        if heard is None:
            raise StepFailed("init", "the pod ended without a word")
        word, *said = heard[0]
        if word == words.MADE:
            os.waitpid(middle, 0)
            words.send(ours, words.GO)
        elif word == words.IMPOSSIBLE and len(said) == 2:
            raise StepFailed(said[0], said[1])
        elif word == words.CANNOT or (word == words.EXIT and said != ["exit 0"]):
            raise StepFailed("init", f"a program in the pod failed: {' '.join(said)}")
        elif word == words.EXIT:
            return


def _service() -> Service:
    is_root = os.getuid() == 0
    uid, gid = (LAST_UID, LAST_UID) if is_root else (os.getuid(), os.getgid())
    who = Identity(uid, gid, [], "/", str(uid), changes=is_root)
    view = View(
        needed=needed_for([sys.executable], _PATH, "/"),
        writable=[],
        shared=[],
        protected=[],
        code=[],
        hidden=[],
        files={"/etc/hosts": "/etc/hosts"},
        uid=uid,
        gid=gid,
        groups=[],
    )
    output = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    return Service(["true"], {"PATH": _PATH}, "/", who, view, "probe", None, output, os.dup(output), 1024)
