"""Another user of the box: tries from outside what it should not be able to do to a running mesh, and says what came of it.

`ATTEMPTS` is the table; SECURITY.md lists it. The rest is as in `intruder.py`, which lies beside it.
"""

# ruff: noqa: PTH208

import os
import socket

from intruder import Attempt, call, dial, read, report, syscall, target, write  # type: ignore[import-not-found]

NEWNET = 0x40000000
CLOSED = ("EACCES", "ENOENT")


def pid(name: str) -> int:
    return int(target(name))


def enter_pod() -> None:
    descriptor = os.open(f"/proc/{pid('pod')}/ns/net", os.O_RDONLY)
    try:
        call("setns", descriptor, NEWNET)
    finally:
        os.close(descriptor)


def take_descriptor(process: str) -> None:
    handle = os.pidfd_open(pid(process))
    try:
        syscall(438, handle, 3, 0)
    finally:
        os.close(handle)


def for_each(*names: str) -> list[Attempt]:
    """The rows of processes."""
    rows = []
    for name in names:
        rows += [
            Attempt(f"signal {name}", ("EPERM",), lambda name=name: os.kill(pid(name), 0)),
            Attempt(
                f"read the environment of {name}", ("EACCES",), lambda name=name: read(f"/proc/{pid(name)}/environ")
            ),
            Attempt(f"read the memory of {name}", ("EACCES",), lambda name=name: read(f"/proc/{pid(name)}/mem")),
            Attempt(
                f"list the descriptors of {name}", ("EACCES",), lambda name=name: os.listdir(f"/proc/{pid(name)}/fd")
            ),
            Attempt(
                f"walk in by the root of {name}", ("EACCES",), lambda name=name: os.listdir(f"/proc/{pid(name)}/root/")
            ),
            Attempt(f"ptrace {name}", ("EPERM",), lambda name=name: call("ptrace", 16, pid(name), 0, 0)),
            Attempt(f"take a descriptor of {name}", ("EPERM",), lambda name=name: take_descriptor(name)),
        ]
    return rows


ATTEMPTS = [
    Attempt("list the runtime directory", CLOSED, lambda: os.listdir(target("runtime"))),
    Attempt("list the state directory", CLOSED, lambda: os.listdir(target("state"))),
    Attempt("read a service's log", CLOSED, lambda: read(target("log"))),
    Attempt("write a service's log", CLOSED, lambda: write(target("log"))),
    Attempt("connect to the admin socket", CLOSED, lambda: dial(socket.AF_UNIX, target("admin"))),
    Attempt("hold the lock of the mesh", CLOSED, lambda: read(target("lock"))),
    Attempt("replace the names that pods see", CLOSED, lambda: write(target("hosts"))),
    Attempt("enter a pod's network", ("EACCES",), enter_pod),
    Attempt(
        "dial a pod's port on the host", ("ECONNREFUSED",), lambda: dial(socket.AF_INET, ("127.0.0.1", pid("port")))
    ),
    Attempt("dial a pod's listener on the host", ("ECONNREFUSED",), lambda: dial(socket.AF_INET, ("127.0.0.1", 15001))),
    Attempt(
        "dial a virtual address on the host", ("ECONNREFUSED",), lambda: dial(socket.AF_INET, ("127.80.7.7", 4000))
    ),
    *for_each("supervisor", "stem", "broker", "pod", "service"),
]

if __name__ == "__main__":
    report(ATTEMPTS)
