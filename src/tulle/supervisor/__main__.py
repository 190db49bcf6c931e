"""`python -m tulle.supervisor --mesh NAME --manifest PATH [--manifest …] [--metrics-port N]`."""

import getopt
import os
import sys

from tulle.supervisor.supervisor import METRICS_PORT, AlreadyRunning, Supervisor

_BAD_USAGE = 2


def main(arguments: list[str]) -> int:
    """Runs one mesh until it is told to stop; returns the exit code."""
    try:
        options, rest = getopt.getopt(arguments, "", ["mesh=", "manifest=", "metrics-port="])
        said = dict(options)
        mesh, port = said["--mesh"], int(said.get("--metrics-port", METRICS_PORT))
        if rest:
            raise ValueError(rest[0])
    except (getopt.GetoptError, KeyError, ValueError) as fault:
        sys.stderr.write(f"tulle.supervisor: {fault}\n{__doc__}\n")
        return _BAD_USAGE
    while os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC) <= 2:  # a closed 0, 1 or 2 would be given to something else
        pass
    manifests = [value for name, value in options if name == "--manifest"]
    try:
        return Supervisor(mesh, manifests, metrics_port=port).run()
    except AlreadyRunning as fault:
        sys.stderr.write(f"tulle: {fault}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
