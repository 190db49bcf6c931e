"""`tulle up` in a terminal: ctrl-C, which reaches every process of its group, ends the mesh in order."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.processes import eventually
from tests.support.running import TULLE

MESH = "mesh: foreground\nservices:\n  idle: {run: sleep 1000}\n"
pytestmark = pytest.mark.user


def test_an_interrupt_ends_the_mesh_in_order_and_starts_nothing_again() -> None:
    with tempfile.TemporaryDirectory(prefix="tulle-up-", dir="/tmp") as directory:
        home = Path(directory)
        (home / "mesh.yaml").write_text(MESH)
        environment = os.environ | {"TULLE_RUNTIME_DIR": str(home / "run"), "TULLE_STATE_DIR": str(home / "state")}

        def is_ready() -> bool:
            asked = [str(TULLE), "status", "--wait", "5"]
            return subprocess.run(asked, env=environment, capture_output=True, check=False).returncode == 0

        words = home / "words"
        with words.open("wb") as output:
            command = [str(TULLE), "up", str(home / "mesh.yaml")]
            up = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            eventually(is_ready, 30, "ready")
            os.killpg(up.pid, signal.SIGINT)
            assert up.wait(30) == 0
        finally:
            if up.poll() is None:
                up.kill()
                up.wait()
        said = words.read_text().splitlines()

    assert said[-2:] == ["tulle: stopping", "tulle: mesh foreground is down"]
    assert [line for line in said if "ended" in line] == []
