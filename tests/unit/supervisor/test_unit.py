"""The unit hears how the mesh goes, in a line."""

import subprocess
import sys

from tulle.supervisor.unit import summary
from tulle.wire.plan import DoorState, DoorStatus, PodState, PodStatus, Report

BEGIN = """
import os, socket, tempfile
from tulle.supervisor.loop import Loop
from tulle.supervisor.unit import UnitLink

loop = Loop(print)
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(f"\\0tulle-test-{os.getpid()}")
environment = {"NOTIFY_SOCKET": f"@tulle-test-{os.getpid()}"}

def hear_until(word, times=1):
    heard = []
    def hear():
        heard.append(manager.recv(4096).decode())
        if heard.count(word) >= times:
            loop.stop()
    loop.read(manager.fileno(), hear)
    loop.later(20.0, loop.stop)
    loop.run()
    print(*heard, sep="\\n")
"""


def ran(script: str) -> list[str]:
    """What a process with a loop of its own says."""
    command = [sys.executable, "-c", BEGIN + script]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


def pod(name: str, state: PodState, why: str = "") -> PodStatus:
    return PodStatus(name, state, 0, 0, 0.0, why)


def test_a_ready_mesh_is_said_in_brief() -> None:
    pods = [pod("default/web", PodState.READY), pod("default/api", PodState.READY)]

    assert summary(Report(1, pods, [DoorStatus(80, DoorState.OPEN)], "")) == "2 of 2 pods ready"


def test_what_is_waited_for_is_named() -> None:
    pods = [pod("default/api", PodState.STARTING), pod("default/web", PodState.WAITING, "default/api")]
    doors = [DoorStatus(80, DoorState.TAKEN)]

    words = summary(Report(1, pods, doors, ""))

    assert words == "0 of 2 pods ready; default/api: starting; default/web: waiting, default/api; port 80: taken"


def test_without_a_plan_the_unit_counts_as_started_all_the_same() -> None:
    assert ran("UnitLink(loop, environment, plan_seconds=0.01).begin(); hear_until('READY=1')") == ["READY=1"]


def test_the_watchdog_hears_again_and_again() -> None:
    script = "environment['WATCHDOG_USEC'] = '30000'; UnitLink(loop, environment).begin(); hear_until('WATCHDOG=1', 3)"

    assert ran(script) == ["WATCHDOG=1"] * 3


def test_where_no_unit_listens_nothing_wakes_the_loop() -> None:
    assert ran("UnitLink(loop, {}).begin(); print(loop._timers)") == ["[]"]
