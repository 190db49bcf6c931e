"""Linux namespaces: leaving, entering, and a user namespace of one user."""

import os
from pathlib import Path

from tulle.kit.syscalls import libc

NEWNS = 0x00020000
NEWCGROUP = 0x02000000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWUSER = 0x10000000
NEWPID = 0x20000000
NEWNET = 0x40000000


def unshare(flags: int) -> None:
    """Moves this process into new namespaces; for NEWPID its children."""
    libc("unshare", flags)


def enter(descriptor: int, kind: int) -> None:
    """Moves this process into an existing namespace."""
    libc("setns", descriptor, kind)


def enter_user_namespace() -> None:
    """Makes this process privileged over namespaces it makes from now on, and over nothing else.

    It keeps its uid and gid, the only ones that exist inside.
    """
    uid, gid = os.getuid(), os.getgid()
    unshare(NEWUSER)
    Path("/proc/self/setgroups").write_text("deny", encoding="utf-8")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="utf-8")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="utf-8")


def forbid_user_namespaces() -> None:
    """No process in this user namespace may nest another. Only of use after `enter_user_namespace`."""
    Path("/proc/sys/user/max_user_namespaces").write_text("0", encoding="utf-8")
