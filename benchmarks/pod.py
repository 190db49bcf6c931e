"""A pod's network: nothing but the mesh in it, as the supervisor makes it, with the listener that only the proxy holds."""

import array
import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.process import Lacking
from tulle.kit.namespaces import NEWNET, unshare
from tulle.supervisor.launch import make_network
from tulle.wire.plan import REDIRECT

PATIENCE = 10


class Pod(NamedTuple):
    """Lives as long as its descriptors."""

    network: int
    listener: socket.socket

    @property
    def entered(self) -> tuple[str, str]:
        """The words before those of a program that is to run in it."""
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self.network}")


def make_pod(started: ExitStack) -> Pod:
    """Makes one in a short-lived child. Raises Lacking without root, or where the kernel redirects nothing."""
    if os.geteuid() != 0 or shutil.which("nsenter") is None:
        raise Lacking("a caller in a pod needs root here, and nsenter (apt-get install util-linux)")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(PATIENCE)
        command = [sys.executable, "-m", "benchmarks.pod", str(theirs.fileno())]
        child = subprocess.run(command, pass_fds=(theirs.fileno(),), capture_output=True, text=True, check=False)
        if child.returncode:
            raise Lacking(f"no network can be made for a pod:\n{child.stderr[-1500:]}")
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 2)
    network, listener = descriptors
    started.callback(os.close, network)
    return Pod(network, started.enter_context(socket.socket(fileno=listener)))


def main() -> None:
    """In the child: makes the network, hands over its descriptors and leaves it to them."""
    with socket.socket(fileno=int(sys.argv[1])) as link:
        unshare(NEWNET)
        network, listener, _ = make_network(REDIRECT)
        socket.send_fds(link, [b"."], array.array("i", [network, listener.fileno()]))


if __name__ == "__main__":
    main()
