"""The unit of an installed mesh is one that systemd takes as it is meant, and that opens no more than it must."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tulle.cli.supervisors import mesh_of
from tulle.cli.unit_file import MeshUnit, noted, unit_name

EXPOSURE = {True: 6.0, False: 7.8}
"""Of `systemd-analyze security`, for the box and for a user: what the options leave. Lower is better; none may be lost."""
SCOPES = pytest.mark.parametrize("is_system", [True, False], ids=["system", "user"])
needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="needs systemd-analyze (Debian: systemd)"
)


def unit(is_system: bool, *, home: str = "/srv/shop", stop_seconds: float = 10.0) -> MeshUnit:
    return MeshUnit(
        mesh="shop",
        command=("/usr/bin/python3", "-P", "-m", "tulle.supervisor"),
        manifests="/etc/tulle/shop",
        home=home,
        stop_seconds=stop_seconds,
        environment={"PATH": "/opt/my bin:/usr/bin"},
        is_system=is_system,
        has_lingered=True,
    )


def analyze(tmp_path: Path, one: MeshUnit, *words: str) -> str:
    (tmp_path / unit_name(one.mesh)).write_text(one.text)
    scope = () if one.is_system else ("--user",)
    done = subprocess.run(
        ["systemd-analyze", *scope, *words, str(tmp_path / unit_name(one.mesh))],
        env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "SYSTEMD_COLORS": "0", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@needs_systemd
@SCOPES
@pytest.mark.parametrize("home", ["/srv/shop", "/srv/my shop", '/srv/50% "of" $HOME\'s; a\\b'])
def test_systemd_finds_nothing_to_say_against_it(is_system: bool, home: str, tmp_path: Path) -> None:
    assert analyze(tmp_path, unit(is_system, home=home), "verify", "--man=no") == ""


@needs_systemd
@SCOPES
def test_it_is_no_more_exposed_than_was_recorded(is_system: bool, tmp_path: Path) -> None:
    said = analyze(tmp_path, unit(is_system), "security", "--offline=true", "--no-pager")

    found = re.search(r"Overall exposure level for tulle-shop.service: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= EXPOSURE[is_system]


@SCOPES
def test_what_an_installation_noted_is_read_back(is_system: bool) -> None:
    assert noted(unit(is_system, home="/srv/50% [x]=y").text) == {"Home": "/srv/50% [x]=y", "Linger": "yes"}


@pytest.mark.parametrize("text", ["", "[Service]\nExecStart=/bin/true\n", "no unit at all", "[Unit\n"])
def test_a_unit_of_somebody_else_is_not_ours(text: str) -> None:
    assert noted(text) == {}


def test_names_lead_back_to_the_mesh() -> None:
    assert mesh_of(unit_name("shop")) == "shop"
    assert mesh_of("nginx.service") == ""


def test_services_have_the_time_to_stop_that_they_ask_for() -> None:
    assert "TimeoutStopSec=90\n" in unit(True).text
    assert "TimeoutStopSec=330\n" in unit(True, stop_seconds=300).text


def test_a_restart_is_never_given_up_and_takes_no_service_along_for_memory() -> None:
    lines = unit(True).text.splitlines()

    assert {"Restart=always", "StartLimitIntervalSec=0", "OOMPolicy=continue", "KillMode=mixed", "Type=notify"} <= set(
        lines
    )
