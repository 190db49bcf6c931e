"""What the proxy is before it serves: told what it was given, and light."""

import subprocess
import sys

import pytest

from tulle.proxy.main import Options, parse_arguments

GIVEN = ("--control-fd", "3", "--broker-fd=4", "--admin-fd", "5", "--metrics-fd", "6", "--memory-fd", "7")
HEAVY = ("argparse", "lzma", "pathlib", "shutil", "sqlite3", "ssl", "typing_extensions", "yaml")
"""A quarter of a megabyte and more each, of which the proxy has no use."""


def test_what_it_was_given_is_read() -> None:
    assert parse_arguments(GIVEN) == Options(3, 4, 5, 6, 7)
    assert parse_arguments(
        [*GIVEN, "--successor", "--diag-fd", "8", "--access-fd", "9", "--uid", "1", "--gid", "2"]
    ) == (Options(3, 4, 5, 6, 7, diag_fd=8, access_fd=9, successor=True, uid=1, gid=2))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (GIVEN[2:], "control_fd"),
        ([*GIVEN, "--uid"], "requires argument"),
        ([*GIVEN, "--uid", "eve"], "eve"),
        ([*GIVEN, "--mesh", "shop"], "not recognized"),
        ([*GIVEN, "more"], "more is no option"),
    ],
)
def test_what_is_no_command_line_ends_it_with_words(words: list[str], said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        parse_arguments(words)


@pytest.mark.parametrize("process", ["proxy", "agent"])
def test_nothing_heavy_is_loaded_that_is_of_no_use(process: str) -> None:
    heavy = [one for one in HEAVY if process == "proxy" or one not in ("pathlib", "sqlite3", "yaml")]
    words = (
        "import runpy, sys\n"
        "try:\n"
        f"    runpy.run_module('tulle.{process}', run_name='__main__')\n"
        "except SystemExit as end:\n"
        f"    print(end, [one for one in {heavy} if sys.modules.get(one)])\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", words], capture_output=True, text=True, check=True)

    assert done.stdout.startswith(f"tulle.{process}: ")
    assert done.stdout.endswith(" []\n")
