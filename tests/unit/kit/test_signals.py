"""Signals reach an event loop, outside of their handler."""

import signal
import subprocess
import sys

import pytest

WAITS = """
import asyncio, signal
from tulle.kit.signals import leave_interrupts, on_signal

async def wait():
    told = asyncio.Event()
    on_signal(asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT), told.set)
    print("ready", flush=True)
    await told.wait()
    print("told", flush=True)

leave_interrupts()
asyncio.run(wait())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_wakes_a_loop_that_waits(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"

        process.send_signal(number)

        assert process.stdout.readline().startswith("told")
        assert process.wait(10) == 0
