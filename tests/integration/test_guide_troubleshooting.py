"""The guide to troubleshooting: each symptom is provoked, and what the guide shows is what one sees."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guides import desk, follow, typed
from tests.support.images import own_storage
from tulle.cli.probes import PROBES
from tulle.wire.reason import Reason

GUIDE = Path(__file__).parents[2] / "docs/guides/troubleshooting.md"
ROW = re.compile(r"^\| `([\w-]+)`", re.MULTILINE)
OF_REQUESTS = {400, 408, 414, 431, 500, 501}
"""Statuses of what clients get wrong by themselves, and of defects: the reference has them."""


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


def test_every_row_of_check_and_every_reason_of_a_mesh_has_its_row() -> None:
    before, _, checked = GUIDE.read_text().partition("## `tulle check`")
    met = {reason.code for reason in Reason if reason.status not in OF_REQUESTS}

    assert ROW.findall(checked) == [probe.name for probe in PROBES]
    dispensable = re.findall(r"`([\w-]+)`", checked.partition("A mesh runs without")[2].partition(", and\n")[0])
    assert dispensable == [probe.name for probe in PROBES if not probe.needed and probe.name != "user-namespace"]
    assert {code for code in met if f"`{code}`" not in before} == set()
