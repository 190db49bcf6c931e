"""docs/guides/systemd-box.md, typed in from top to bottom on a box with a real systemd."""

import os
import re
from pathlib import Path

import pytest

from tests.support.guides import FENCE, typed
from tests.support.own_systemd import SYSTEMD, own_systemd
from tests.support.processes import eventually

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="needs root: a systemd of its own"),
    pytest.mark.skipif(not SYSTEMD.exists(), reason="needs systemd (Debian: systemd)"),
]
GUIDE = Path(__file__).parents[2] / "docs/guides/systemd-box.md"
LOOKING = re.compile(r"(curl|ls|systemctl (is-active|show)|tulle (status|logs|history|get))\b")
"""Commands that change nothing: what they show may take a moment to be so."""


def is_shown(output: str, shown: list[str]) -> bool:
    """Whether it is what the guide shows; `…` stands for anything in a line, and alone for any lines."""
    patterns = [r"(?s:.*)" if line == "…" else re.escape(line).replace("…", "[^\n]*") for line in shown]
    return re.fullmatch("\n".join(patterns), output) is not None


def test_every_command_does_what_the_guide_shows() -> None:
    text = GUIDE.read_text()
    mesh = next(body for language, body in FENCE.findall(text) if language == "yaml")
    commands = typed(text)
    assert len(commands) > 20
    with own_systemd() as box:
        box.run("mkdir", "-p", "/srv/hello/pages")
        box.path("/srv/hello/mesh.yaml").write_text(mesh)
        box.path("/srv/hello/pages/index.html").write_text("good morning\n")
        path = {"PATH": "/opt/tulle/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NO_PROXY": "*"}
        for command, shown in commands:
            said: list[str] = []

            def is_so(command: str = command, shown: list[str] = shown, said: list[str] = said) -> bool:
                done = box.tried("bash", "-c", command, env=path)
                said.append(f"{command}\nexited with {done.returncode}\n{done.stdout}\nshown:\n" + "\n".join(shown))
                return done.returncode == 0 and (not shown or is_shown(done.stdout.strip(), shown))

            if not is_so():
                assert LOOKING.match(command), said[-1]
                eventually(is_so, 20, said[-1])
