"""Guides that need nothing but a mesh, or a mesh and podman, typed in from top to bottom."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.guides import desk, follow, typed
from tests.support.images import own_storage

GUIDES = Path(__file__).parents[2] / "docs/guides"
pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("name", ["lock-down.md", "canary.md"])
def test_every_command_does_what_the_guide_shows(name: str) -> None:
    text = (GUIDES / name).read_text()
    assert len(typed(text)) >= 10

    with desk() as hall:
        follow(text, hall, {})


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: podman runs in pods of root's")
@pytest.mark.skipif(not shutil.which("podman"), reason="needs podman (Debian: podman)")
def test_every_command_of_the_guide_to_containers_does_what_it_shows() -> None:
    busybox = shutil.which("busybox")
    assert busybox, "busybox is missing: apt-get install busybox-static"
    with own_storage() as storage, desk() as hall:
        follow((GUIDES / "containers-and-compose.md").read_text(), hall, storage.environment)
