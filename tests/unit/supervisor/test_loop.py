"""What a callback raises ends neither the loop nor what other callbacks serve."""

import subprocess
import sys

import pytest

BEGIN = """
import errno, os, signal, socket
from tulle.supervisor.loop import Loop

loop = Loop(print)
here, there = socket.socketpair()

def lacks(*_):
    '''Fails as often as the box has nothing left, then ends the loop.'''
    if faults:
        raise faults.pop()
    print("served")
    loop.stop()

"""
NO_DESCRIPTOR = "faults = [OSError(errno.EMFILE, 'Too many open files')]\n"
WAYS_TO_BE_CALLED = {
    "timer": "loop.later(0, lacks)",
    "child": "pid = os.fork() or os._exit(0)\nloop.child(pid, lacks)",
    "signal": "loop.signal(signal.SIGUSR1, lacks)\nos.kill(os.getpid(), signal.SIGUSR1)",
    "reader": "loop.read(here.fileno(), lacks)\nthere.send(b'x')",
    "writer": "loop.read(here.fileno(), print)\nloop.write(here.fileno(), lacks)",
}


def ran(script: str) -> list[str]:
    """What a process with a loop of its own says."""
    command = [sys.executable, "-c", BEGIN + script + "\nloop.run()"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


@pytest.mark.parametrize("how", WAYS_TO_BE_CALLED)
def test_what_the_box_refused_is_said_and_tried_again(how: str) -> None:
    assert ran(NO_DESCRIPTOR + WAYS_TO_BE_CALLED[how]) == [
        "lacks failed ([Errno 24] Too many open files); trying again in 1 s",
        "served",
    ]


@pytest.mark.parametrize("how", ["timer", "child", "signal"])
def test_a_defect_is_said_with_its_trace_once_and_others_are_served(how: str) -> None:
    script = f"faults = [LookupError('nobody thought of it')]\nloop.later(1.5, loop.stop)\n{WAYS_TO_BE_CALLED[how]}"

    said = ran(script)

    assert said[0] == "lacks failed, a defect of Tulle:"
    assert said[-1] == "  LookupError: nobody thought of it"
    assert sum("defect" in line for line in said) == 1


def test_a_reader_that_fails_turns_nothing_and_may_be_forgotten_while_it_rests() -> None:
    script = """
faults = [LookupError()] * 1000
loop.read(here.fileno(), lacks)
there.send(b"x")
loop.later(0.3, lambda: (loop.forget(here.fileno()), here.close()))
loop.later(1.3, loop.stop)
"""
    assert sum("defect" in line for line in ran(script)) == 1


def test_a_cancelled_timer_is_not_tried_again() -> None:
    script = NO_DESCRIPTOR + "timer = loop.later(0, lacks)\nloop.later(0.2, timer.cancel)\nloop.later(1.3, loop.stop)"

    assert ran(script) == ["lacks failed ([Errno 24] Too many open files); trying again in 1 s"]


@pytest.mark.parametrize("seconds", ["30 * 86_400", "1e300", "float('inf')"])
def test_what_is_due_beyond_what_the_kernel_waits_for_ends_no_loop(seconds: str) -> None:
    script = f"loop.later({seconds}, print)\nloop.read(here.fileno(), loop.stop)\nif not os.fork():\n    there.send(b'x')\n    os._exit(0)"

    assert ran(script) == []
