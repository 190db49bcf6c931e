"""`python -m tulle.supervisor --mesh NAME --manifest PATH [--manifest …] [--home DIR] [--metrics-port N] [--redirect WAY]`.

DIR is where relative paths of the manifests start; where the first of them lies unless said.

WAY says how what a pod dials reaches the proxy: `redirect` (nftables), `addresses` (a listener at each virtual
address), or `auto`, the first where the kernel has it.
"""

from tulle.kit.deferred import SELDOM, defer

defer(SELDOM)

import getopt
import os
import sys

from tulle.supervisor.supervisor import AlreadyRunning, Supervisor
from tulle.wire.plan import AUTO, METRICS_PORT, WAYS

_BAD_USAGE = 2


def main(arguments: list[str]) -> int:
    """Runs one mesh until it is told to stop; returns the exit code."""
    try:
        options, rest = getopt.getopt(arguments, "", ["mesh=", "manifest=", "home=", "metrics-port=", "redirect="])
        said = dict(options)
        mesh, port = said["--mesh"], int(said.get("--metrics-port", METRICS_PORT))
        way = said.get("--redirect", AUTO)
        if way not in WAYS:
            raise ValueError(f"--redirect is one of {', '.join(WAYS)}")
        if rest:
            raise ValueError(rest[0])
    except (getopt.GetoptError, KeyError, ValueError) as fault:
        sys.stderr.write(f"tulle.supervisor: {fault}\n{__doc__}\n")
        return _BAD_USAGE
    while os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC) <= 2:  # a closed 0, 1 or 2 would be given to something else
        pass
    manifests = [value for name, value in options if name == "--manifest"]
    try:
        return Supervisor(mesh, manifests, home=said.get("--home", ""), metrics_port=port, way=way).run()
    except AlreadyRunning as fault:
        sys.stderr.write(f"tulle: {fault}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
