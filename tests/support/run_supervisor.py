"""Runs the supervisor with the fake agent and the fake proxy."""

import sys
from pathlib import Path

from tulle.supervisor.supervisor import Programs, Supervisor


def main() -> int:
    here = Path(__file__).parent
    programs = Programs(
        agent=(sys.executable, str(here / "fake_agent.py")), proxy=(sys.executable, str(here / "fake_proxy.py"))
    )
    return Supervisor(sys.argv[1], sys.argv[2:], metrics_port=0, programs=programs).run()


if __name__ == "__main__":
    sys.exit(main())
