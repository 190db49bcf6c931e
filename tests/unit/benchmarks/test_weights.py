"""How processes that were weighed one by one come to the values of a role."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.cases.memory import Shop
from benchmarks.memory import PER_FILE, Memory, Rest, by_role, crowd
from benchmarks.process import Lacking
from tools.footprint import Weight
from tulle.compiler import Compiled, Facts, compile_mesh
from tulle.manifest import Loaded, parse


def weighed(role: str, pid: int, rss_mb: int, pss_mb: int) -> tuple[Weight, Memory]:
    return Weight(role, pid, rss_mb << 20, pss_mb << 20), Memory(rss_mb << 20, pss_mb << 20, 0, 0, 0, 0)


def test_processes_of_a_role_are_one_and_all_of_them_are_tulle() -> None:
    found = by_role(
        [weighed("proxy", 7, 24, 20), weighed("pod init", 8, 9, 2), weighed("pod init", 9, 9, 3)],
        [Rest("proxy", 7, 0.5, 0.02), Rest("pod init", 8, 0.25, 0.0), Rest("pod init", 9, 0.0, 0.01)],
    )

    assert found["pod init"] == {"rss_kb": 18432, "pss_kb": 5120, "wakeups_per_s": 0.25, "core_percent": 0.01}
    assert found["tulle"] == {"rss_kb": 43008, "pss_kb": 25600, "wakeups_per_s": 0.75, "core_percent": 0.03}


def test_processes_that_were_not_watched_have_no_wake_ups() -> None:
    found = by_role([weighed("agent", 7, 24, 20)], [])

    assert found == {"agent": {"rss_kb": 24576, "pss_kb": 20480}, "tulle": {"rss_kb": 24576, "pss_kb": 20480}}


def test_crowd_is_as_many_services_of_ten_policies_each_as_is_said() -> None:
    read = parse({"mesh.yaml": "mesh: shop\nservices: {web: {run: serve}}\n", **crowd(3)})
    assert isinstance(read, Loaded), "\n".join(map(str, read))
    made = compile_mesh(read.resources, Facts(generation=1))
    assert isinstance(made, Compiled), "\n".join(map(str, made))

    own = {
        one.name: sum(policy.startswith(f"{one.name}-") for policy in one.policies)
        for one in made.snapshot.services
        if "crowd" in one.name
    }
    assert own == {f"prod/crowd000{number}": 10 for number in range(3)}


def test_crowd_fits_into_files() -> None:
    files = crowd(PER_FILE + 1)

    assert len(files) == 2
    assert max(map(len, files.values())) < 4 << 20


def test_demo_that_does_not_come_up_is_tried_once(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    shop = Shop(
        tmp_path, (sys.executable, "-c", f"open({str(tries)!r}, 'a').write('x'); raise SystemExit('no pods here')")
    )

    with pytest.raises(Lacking, match="no pods here"):
        shop.take("idle", "tulle", 1, 1.0)
    with pytest.raises(Lacking, match="no proxy to be weighed"):
        shop.take("idle", "proxy", 1, 1.0)
    assert tries.read_text() == "x"


def test_demo_is_brought_up_once_for_all_its_roles(tmp_path: Path) -> None:
    said = '{"idle": {"agent": {"rss_kb": 3.0}, "proxy": {"rss_kb": 2.0}}}'
    tries = tmp_path / "tries"
    shop = Shop(tmp_path, (sys.executable, "-c", f"open({str(tries)!r}, 'a').write('x'); print({said!r})"))

    assert shop.take("idle", "agent", 1, 1.0) == {"rss_kb": 3.0}
    assert shop.take("idle", "proxy", 1, 1.0) == {"rss_kb": 2.0}
    assert tries.read_text() == "x"
