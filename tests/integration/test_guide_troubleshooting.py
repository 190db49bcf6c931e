"""The guide to troubleshooting: each symptom is provoked, and what the guide shows is what one sees."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guides import desk, follow, typed
from tests.support.images import own_storage

GUIDE = Path(__file__).parents[2] / "docs/guides/troubleshooting.md"


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """A file system of 32 MB, which can be filled without harm."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=0755", "tmpfs", str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.mark.timeout(300)
@pytest.mark.skipif(os.getuid() != 0, reason="needs root: a small disk, an attached user, podman")
@pytest.mark.skipif(not shutil.which("podman"), reason="needs podman (Debian: podman)")
def test_every_symptom_is_what_the_guide_shows() -> None:
    text = GUIDE.read_text()
    assert len(typed(text)) >= 40

    with own_storage() as storage, desk() as hall, small_disk(hall.parent / "state"):
        try:
            follow(text, hall, storage.environment, patience=60.0)
        finally:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((hall / "squatter.pid").read_text()), signal.SIGKILL)
