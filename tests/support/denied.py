"""Runs the command line on a stricter box: one system call denied, few descriptors, an older kernel, another network."""

import os
import subprocess
import sys

NUMBERS = {
    "x86_64": {
        "bind": 49, "clone": 56, "getsockopt": 55, "inotify_init1": 294, "memfd_create": 319, "mount": 165, "mount_setattr": 442,
        "pidfd_open": 434, "prctl": 157, "socket": 41, "statfs": 137, "unshare": 272,
    },
    "aarch64": {
        "bind": 200, "clone": 220, "getsockopt": 209, "inotify_init1": 26, "memfd_create": 279, "mount": 40, "mount_setattr": 442,
        "pidfd_open": 434, "prctl": 167, "socket": 198, "statfs": 43, "unshare": 97,
    },
}  # fmt: skip
"""System calls by machine, as the kernel numbers them."""

_FILTER = """
import ctypes, struct, sys
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06
number, fault = int(sys.argv.pop(1)), 1
program = b"".join(struct.pack("=HBBI", *step) for step in (
    (LOAD, 0, 0, 0), (EQUALS, 0, 1, number), (RETURN, 0, 0, 0x00050000 | fault), (RETURN, 0, 0, 0x7FFF0000)))
held = ctypes.create_string_buffer(program, len(program))
head = ctypes.create_string_buffer(struct.pack("@HP", 4, ctypes.addressof(held)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, head, 0, 0) == 0
"""
_MAIN = "\nfrom tulle.cli.main import main\nimport sys\nmain(sys.argv[1:])\n"


def run_denied(call: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`tulle` under a filter that answers one system call with EPERM."""
    number = str(NUMBERS[os.uname().machine][call])
    return run_after(_FILTER, number, *words, **environment)


def run_after(prelude: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`tulle` in a process that first does what `prelude` says; words that it takes from `sys.argv` come first."""
    return subprocess.run(
        [sys.executable, "-c", prelude + _MAIN, *words],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ | environment,
    )  # fmt: skip
