"""Guides that list what the code knows: nothing of it is missing."""

import re
from pathlib import Path

from tulle.cli.probes import PROBES
from tulle.wire.reason import Reason

GUIDE = Path(__file__).parents[2] / "docs/guides/troubleshooting.md"
ROW = re.compile(r"^\| `([\w-]+)`", re.MULTILINE)
OF_REQUESTS = {400, 408, 414, 431, 500, 501}
"""Statuses of what clients get wrong by themselves, and of defects: the reference has them."""


def test_every_row_of_check_and_every_reason_of_a_mesh_has_its_row() -> None:
    before, _, checked = GUIDE.read_text().partition("## `tulle check`")
    met = {reason.code for reason in Reason if reason.status not in OF_REQUESTS}

    assert ROW.findall(checked) == [probe.name for probe in PROBES]
    dispensable = re.findall(r"`([\w-]+)`", checked.partition("A mesh runs without")[2].partition(", and\n")[0])
    assert dispensable == [probe.name for probe in PROBES if not probe.needed and probe.name != "user-namespace"]
    assert {code for code in met if f"`{code}`" not in before} == set()
