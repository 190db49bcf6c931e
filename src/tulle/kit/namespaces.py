"""Linux namespaces: leaving, entering, and a user namespace of one user."""

import os

from tulle.kit.syscalls import libc, write_setting

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
    write_setting("/proc/self/setgroups", "deny")
    write_setting("/proc/self/uid_map", f"{uid} {uid} 1")
    write_setting("/proc/self/gid_map", f"{gid} {gid} 1")


def forbid_user_namespaces() -> None:
    """No process in this user namespace may nest another. Only of use after `enter_user_namespace`."""
    write_setting("/proc/sys/user/max_user_namespaces", "0")
