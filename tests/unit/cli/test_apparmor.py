"""The profile names this Tulle and no other program, and AppArmor's own parser takes it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tulle.cli.apparmor import is_restricted, profile, profile_file, program

PARSER = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin:/bin")
PATHS = [
    "/opt/tulle/bin/tulle",
    "/home/eve/.local/share/pipx/venvs/tulle/bin/tulle",
    '/srv/it\'s [my] {own}*"box" a\\b/bin/tulle',
]


def parsed(text: str, *words: str) -> str:
    """What the parser makes of it. Those before 4.0 know neither `userns` nor the ABI that brought it: it goes without."""
    assert PARSER
    version = subprocess.run([PARSER, "--version"], capture_output=True, text=True, check=True).stdout
    major = re.search(r"version (\d+)", version)
    if major and int(major[1]) < 4:
        text = re.sub(r"^(abi .*|  userns,)\n", "", text, flags=re.MULTILINE)
    done = subprocess.run(
        [PARSER, "--skip-kernel-load", "--skip-cache", *words], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not PARSER, reason="needs apparmor_parser (Debian: apparmor)")
@pytest.mark.parametrize("path", PATHS)
def test_the_parser_takes_it_whatever_the_path(path: str) -> None:
    assert parsed(profile(Path(path)), "--names").strip() == profile_file(Path(path)).name


@pytest.mark.skipif(not PARSER, reason="needs apparmor_parser (Debian: apparmor)")
def test_the_parser_would_refuse_what_is_no_profile() -> None:
    with pytest.raises(AssertionError, match="syntax error"):
        parsed(profile(Path(PATHS[0])).replace("{", "", 1))


def test_it_grants_user_namespaces_and_confines_nothing() -> None:
    text = profile(Path(PATHS[0]))

    assert "  userns,\n" in text
    assert '"/opt/tulle/bin/tulle" flags=(unconfined) {' in text


def test_each_installed_tulle_has_a_profile_of_its_own() -> None:
    assert len({profile_file(Path(path)) for path in PATHS}) == len(PATHS)
    assert str(profile_file(Path(PATHS[0]))) == "/etc/apparmor.d/tulle.opt.tulle.bin.tulle"


def test_the_interpreter_is_not_named() -> None:
    assert program().name == "tulle"


@pytest.mark.parametrize(("content", "restricted"), [("1\n", True), ("0\n", False), (None, False)])
def test_the_kernel_says_whether_it_is_needed(content: str | None, restricted: bool, tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    if content is not None:
        switch.write_text(content)

    assert is_restricted(switch) == restricted
