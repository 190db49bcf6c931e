"""Runs the supervisor with the fake agent and the fake proxy: `run_supervisor.py WAY MESH MANIFEST …`.

WAY `no-nftables`: as it comes on a kernel that has none.
"""

import errno
import sys
from pathlib import Path

from deny import without_nftables  # type: ignore[import-not-found]  # beside this script, wherever it is copied to

from tulle.supervisor.supervisor import Programs, Supervisor


def main() -> int:
    here = Path(__file__).parent
    programs = Programs(
        agent=(sys.executable, str(here / "fake_agent.py")), proxy=(sys.executable, str(here / "fake_proxy.py"))
    )
    way, mesh, *manifests = sys.argv[1:]
    if way == "no-nftables":
        without_nftables(errno.EPROTONOSUPPORT)
        way = "auto"
    return Supervisor(mesh, manifests, metrics_port=0, way=way, programs=programs).run()


if __name__ == "__main__":
    sys.exit(main())
