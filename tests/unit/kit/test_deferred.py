"""What is deferred is there for whoever uses it, and not read before."""

import ast
import subprocess
import sys
from pathlib import Path

import tulle
from tulle.kit.deferred import NEVER


def run(words: str) -> str:
    """What a program says that defers first."""
    head = (
        "import sys\n"
        "from tulle.kit.deferred import SELDOM, defer\n"
        "from tulle.kit.spare import LIBRARIES, spare\n"
        "spare(*LIBRARIES)\n"
        "defer(SELDOM)\n"
    )
    done = subprocess.run([sys.executable, "-c", head + words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_what_is_deferred_is_not_read_by_those_who_import_it() -> None:
    words = (
        "import asyncio, dataclasses, getopt, traceback, socket, urllib.parse, msgspec\n"
        "print([name for name in SELDOM if type(sys.modules[name]).__name__ != '_Deferred'], 'ast' in sys.modules)\n"
        "asyncio.run(asyncio.sleep(0))\n"
        "print('ast' in sys.modules)\n"
    )

    assert run(words) == "[] False\nFalse\n"


def test_who_uses_it_finds_all_of_it() -> None:
    words = (
        "import inspect, subprocess, textwrap\n"
        "def f(a, *, b=1): ...\n"
        "print(inspect.signature(f), inspect.iscoroutinefunction(f), type(inspect).__name__, 'ast' in sys.modules)\n"
        "print(subprocess.run([sys.executable, '-c', 'print(1)'], stdout=subprocess.PIPE).stdout)\n"
        "from textwrap import dedent, indent\n"
        "print(textwrap.__spec__.loader is textwrap.__loader__, hasattr(textwrap, 'none'), textwrap.__file__[-11:])\n"
    )

    assert run(words) == "(a, *, b=1) False module True\nb'1\\n'\nTrue False textwrap.py\n"


def test_a_star_import_reads_it_and_what_is_not_there_is_not_found() -> None:
    words = (
        "from ipaddress import *\n"
        "import tokenize\n"
        "try:\n    tokenize.nothing\nexcept AttributeError as fault:\n    print(ip_address('127.0.0.1').is_loopback, fault)\n"
        "try:\n    import nothing\nexcept ModuleNotFoundError as fault:\n    print(fault)\n"
    )

    assert run(words) == "True module 'tokenize' has no attribute 'nothing'\nNo module named 'nothing'\n"


def test_a_trace_is_told_as_ever() -> None:
    words = (
        "import traceback\n"
        "try:\n    raise ExceptionGroup('two', [ValueError('one'), KeyError('other')])\n"
        "except ExceptionGroup:\n    print(traceback.format_exc())\n"
    )

    told = run(words)

    assert "ExceptionGroup: two (2 sub-exceptions)" in told
    assert "    | ValueError: one" in told


def test_a_task_is_shown_where_no_file_can_be_read_any_more() -> None:
    words = (
        "import asyncio, functools\n"
        "def done(task): ...\n"
        "async def show():\n"
        "    task = asyncio.current_task()\n"
        "    task.add_done_callback(functools.wraps(done)(functools.partial(done)))\n"
        "    sys.path_importer_cache.clear()\n"
        "    sys.path[:] = []\n"
        "    print(repr(task))\n"
        "asyncio.run(show())\n"
        "print('ast' in sys.modules)\n"
    )

    shown, asked, _ = run(words).split("\n")

    assert "done()() at <string>:" in shown
    assert asked == "False"


def test_times_are_what_they_are() -> None:
    words = (
        "import datetime, msgspec\n"
        "when = msgspec.json.decode(b'\"2026-01-02T03:04:05Z\"', type=datetime.datetime)\n"
        "print(when == datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), msgspec.json.encode(when).decode())\n"
        "print(datetime.MAXYEAR, datetime.date.__module__, type(datetime).__name__)\n"
    )

    assert run(words) == 'True "2026-01-02T03:04:05Z"\n9999 datetime _Deferred\n'


def test_the_proxy_asks_for_nothing_that_it_could_not_read_any_more() -> None:
    known = {"datetime"}
    """All of it is there."""
    used = {
        f"{source.parent.name}/{source.name}: {name}"
        for package in ("proxy", "core", "http", "wire", "kit")
        for source in Path(tulle.__file__).parent.joinpath(package).rglob("*.py")
        for node in ast.walk(ast.parse(source.read_text()))
        for name in imported(node)
        if name in NEVER.keys() - known
    }

    assert used == set()


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_what_could_not_be_read_is_asked_for_again() -> None:
    words = (
        "import ipaddress\n"
        "real = ipaddress.__loader__.loader\n"
        "class Refused:\n"
        "    def exec_module(self, module):\n"
        "        raise PermissionError('not yours')\n"
        "ipaddress.__loader__.loader = Refused()\n"
        "for _ in range(2):\n"
        "    try:\n        ipaddress.ip_address\n"
        "    except PermissionError as fault:\n        print(fault)\n"
        "ipaddress.__loader__.loader = real\n"
        "print(ipaddress.ip_address('::1').version)\n"
    )

    assert run(words) == "not yours\nnot yours\n6\n"
