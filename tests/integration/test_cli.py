"""The command line on its own: what it loads, how it ends, what it says offline, what it finds out about the box."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.denied import run_denied
from tests.support.fake_mesh import fake_mesh
from tulle import __version__
from tulle.cli.verbs import VERBS

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop" / "mesh.yaml"
STATUS = {
    "mesh": "shop", "version": __version__, "ready": True, "generation": 3, "waits_for": [], "agent_pid": 2,
    "supervisor_pid": 1, "since": 0.0, "proxy": {"reachable": True, "generation": 3},
    "pods": [{"name": "default/web", "state": "ready", "pid": 7, "restarts": 0, "since": 0.0, "why": "", "way": "redirect"}],
    "doors": [{"port": 1, "service": "default/web", "state": "open", "why": "", "holder": ""}],
    "attached": [], "closed_addresses": [], "metrics": {"address": "127.0.0.1:15020", "why": ""}, "proxies": [],
    "upgrade": {"id": "", "stage": "", "why": "", "seconds": 0.0}, "supervisor_version": __version__, "push": None,
    "problems": [], "notes": [],
}  # fmt: skip
IN_TROUBLE = {
    "ready": False, "generation": 4, "waits_for": ["pod default/web (backoff: gone)"], "supervisor_version": "0.0.8",
    "proxy": {"reachable": False, "generation": 3},
    "pods": [{"name": "default/web", "state": "backoff", "pid": 0, "restarts": 9, "since": 0.0, "why": "gone", "way": ""}],
    "doors": [
        {"port": 1, "service": "default/web", "state": "refused", "why": "Permission denied", "holder": ""},
        {"port": 2, "service": "default/web", "state": "", "why": "", "holder": ""},
    ],
    "attached": [
        {"name": "default/cron", "is_known": False, "why": "no such unit", "since": 0.0, "squatted": [], "holders": []},
        {"name": "default/db", "is_known": True, "why": "", "since": 0.0, "squatted": [], "holders": []},
    ],
    "closed_addresses": [
        {"address": "127.80.0.1:80", "state": "refused", "why": "Permission denied", "holder": "", "remedy": "Move it."}
    ],
    "metrics": {"address": "127.0.0.1:4711", "why": "15020 is taken"},
    "proxies": [
        {"pid": 8, "state": "serving", "version": __version__, "since": 0.0, "until": 0.0},
        {"pid": 7, "state": "draining", "version": "0.0.8", "since": 0.0, "until": 0.0},
        {"pid": 0, "state": "starting", "version": "", "since": 0.0, "until": 0.0},
    ],
    "push": {
        "url": "http://metrics.example", "failing_since": 1.0, "why": "503", "last_success": 1.0, "waiting_samples": 12,
        "waiting_bytes": 5000, "dropped": {"too-old": 3}, "notes": ["disk full"],
    },
    "notes": ["not remembered: disk full"],
}  # fmt: skip
"""Everything that a status may say beside squatted places, which the short way leaves to the long."""
RESOURCES = ROOT / "docs" / "reference" / "resources.yaml"


def tulle(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tulle.cli", *words],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=os.environ | environment,
    )  # fmt: skip


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment in which no mesh runs."""
    return {"TULLE_RUNTIME_DIR": str(tmp_path / "run"), "TULLE_STATE_DIR": str(tmp_path / "state")}


def test_help_loads_neither_asyncio_nor_rich_nor_yaml() -> None:
    words = (
        "import sys\n"
        "from tulle.cli.main import run\n"
        "status = run(['--help'])\n"
        "print([name for name in ('asyncio', 'rich', 'yaml', 'msgspec', 'sqlite3') if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run([sys.executable, "-S", "-c", words], capture_output=True, text=True, check=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})  # fmt: skip

    assert done.stderr == "[]\n"
    assert all(f"\n  {verb} " in done.stdout for verb in VERBS)


HEAVY = (
    "asyncio",
    "click",
    "dataclasses",
    "inspect",
    "msgspec",
    "pathlib",
    "selectors",
    "socket",
    "subprocess",
    "typing",
    "yaml",
)


def test_a_plain_status_loads_nothing_heavy(tmp_path: Path) -> None:
    words = (
        "import sys\n"
        "from tulle.cli.main import run\n"
        "status = run(['status'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    with fake_mesh(tmp_path, "shop", {"status": json.dumps(STATUS)}) as environment:
        done = subprocess.run([sys.executable, "-S", "-c", words], capture_output=True, text=True, check=True,
                              env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})  # fmt: skip

    assert done.stdout.startswith("mesh        shop (ready)\n")
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("change", "ending"),
    [
        ({}, 0),
        ({"ready": False, "waits_for": ["the proxy to answer"]}, 1),
        ({"version": "0.0.9"}, 0),
        ({"version": "0.0.9", "ready": False}, 1),
        ({"doors": [{"port": 1, "service": "default/web", "state": "taken", "why": "taken", "holder": "nginx"}]}, 0),
        ({"problems": [{"code": "bad-value", "message": "no", "file": "mesh.yaml", "line": 3, "hint": "yes"}]}, 0),
        (IN_TROUBLE, 1),
    ],
)
def test_status_says_the_same_the_short_way_and_the_long(
    change: dict[str, object], ending: int, tmp_path: Path
) -> None:
    with fake_mesh(tmp_path, "shop", {"status": json.dumps(STATUS | change)}) as environment:
        short = tulle("status", "--mesh", "shop", **environment)
        long = tulle("status", "--wait", "0", **environment)

    assert (short.returncode, short.stdout, short.stderr) == (ending, long.stdout, long.stderr)
    assert long.returncode == ending
    assert "default/web" in short.stdout


@pytest.mark.parametrize("words", [("status",), ("status", "--wait", "0")])
def test_a_status_that_nobody_can_be_shown_ends_without_a_traceback(words: tuple[str, ...], tmp_path: Path) -> None:
    with (
        fake_mesh(tmp_path, "shop", {"status": json.dumps(STATUS)}) as environment,
        Path("/dev/full").open("w") as full,
    ):
        done = subprocess.run(
            [sys.executable, "-m", "tulle.cli", *words],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False, cwd=ROOT, env=os.environ | environment,
        )  # fmt: skip

    assert done.returncode != 0
    assert done.stderr.startswith("error[")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"version": 1', "null"])
def test_an_answer_that_is_no_status_is_said_as_ever(answer: str, tmp_path: Path) -> None:
    with fake_mesh(tmp_path, "shop", {"status": answer}) as environment:
        done = tulle("status", **environment)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error[refused]")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    done = tulle(verb, "--help")

    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: tulle {verb}")


@pytest.mark.parametrize("verb", ["status", "get", "history", "down", "logs", "tap", "top"])
def test_without_a_mesh_the_exit_code_is_four(verb: str, nowhere: dict[str, str]) -> None:
    done = tulle(verb, **nowhere)

    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "error[no-mesh]: no mesh runs here\nhint: start one: `tulle up mesh.yaml`\n"


def test_unknown_verb_and_option_are_usage_errors() -> None:
    assert tulle("statsu").returncode == 2
    assert "Did you mean `status`?" in tulle("statsu").stderr
    assert tulle("status", "--frobnicate").returncode == 2


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--mesh", "../.."),
        ("logs", "--mesh", "No Such"),
        ("logs", "--tail", "-1"),
        ("tap", "--count", "-1"),
        ("top", "--interval", "0"),
        ("rollback", "last"),
        ("get", "pods"),
        ("why",),
        ("why", "-f", str(SHOP), "web"),
        ("completion", "tcsh"),
    ],
)
def test_words_that_make_no_sense_are_usage_errors(words: tuple[str, ...], nowhere: dict[str, str]) -> None:
    done = tulle(*words, **nowhere)

    assert (done.returncode, done.stdout) == (2, "")
    assert f"Usage: tulle {words[0]}" in done.stderr
    assert "\nError: " in done.stderr


def test_logs_of_a_mesh_that_never_was_are_not_there(nowhere: dict[str, str]) -> None:
    done = tulle("logs", "--mesh", "gone", **nowhere)

    assert (done.returncode, done.stderr) == (4, "error[no-logs]: there are no logs of mesh `gone`\n")


def test_logs_of_a_mesh_that_has_ended_are_offered_by_its_name(nowhere: dict[str, str]) -> None:
    (Path(nowhere["TULLE_STATE_DIR"]) / "hall" / "logs").mkdir(parents=True)

    done = tulle("logs", **nowhere)

    assert done.returncode == 4
    assert done.stderr == "error[no-mesh]: no mesh runs here\nhint: logs are kept of hall: say --mesh NAME\n"


def test_problems_of_references_are_said_beside_the_others(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text("mesh: bad\nservices:\n  web: {run: x, calls: [cart, crat]}\n  cart: {run: x, port: 99999}\n")

    for words in (("validate", str(file)), ("apply", "-f", str(file)), ("up", str(file))):
        done = tulle(*words)
        assert done.returncode == 3
        assert done.stderr == (
            f"error[unknown-service]: no service named `default/crat`\n  --> {file}:3\nhint: did you mean `default/cart`?\n\n"
            "error[bad-value]: `port` must be a whole number from 1 to 65535, found `99999`\n"
            f"  --> {file}:4\n"
        )


def test_problems_are_all_said_and_exit_is_three(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text("mesh: bad\nservices:\n  web: {run: x, prot: 1}\n  cart: {run: x, port: 99999}\n")

    done = tulle("validate", str(file))

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("error[") == 2
    assert f"--> {file}:3" in done.stderr
    assert f"--> {file}:4" in done.stderr
    assert "hint: " in done.stderr
    found = json.loads(tulle("validate", "--json", str(file)).stdout)
    assert [one["line"] for one in found["problems"]] == [3, 4]


def test_missing_manifest_is_a_problem_not_a_traceback(tmp_path: Path) -> None:
    done = tulle("up", str(tmp_path / "none.yaml"))

    assert done.returncode == 3
    assert done.stderr.startswith("error[")


def test_expanded_mesh_file_means_the_same(tmp_path: Path) -> None:
    expanded = tulle("expand", str(SHOP))
    (tmp_path / "resources.yaml").write_text(expanded.stdout)

    assert expanded.returncode == 0
    assert tulle("expand", str(tmp_path / "resources.yaml")).stdout == expanded.stdout
    assert isinstance(json.loads(tulle("expand", "--json", str(SHOP)).stdout), list)


def test_why_answers_offline_with_the_rule_and_an_exit_code() -> None:
    allowed = tulle("why", "-f", str(SHOP), "web", "orders", "--path", "/orders/1")
    denied = tulle("why", "-f", str(SHOP), "dev/spy", "prod/payments", "--json")

    assert allowed.returncode == 0
    assert allowed.stdout.startswith("allowed: by policy default/orders-allow")
    assert denied.returncode == 1
    assert json.loads(denied.stdout)["allowed"] is False
    assert json.loads(denied.stdout)["by"]
    assert tulle("why", "-f", str(SHOP), "web", "ordres").stderr.endswith("hint: did you mean `default/orders`?\n")


@pytest.mark.parametrize(
    ("headers", "route"),
    [
        (("X-Test: yes",), "default/readings#0"),
        (("x-test:yes", "x-other: 1"), "default/readings#0"),
        (("x-test: no",), "default/readings#1"),
        ((), "default/readings#1"),
    ],
)
def test_why_takes_the_route_of_the_headers_it_is_given(headers: tuple[str, ...], route: str) -> None:
    words = [word for header in headers for word in ("--header", header)]
    asked = ["why", "-f", str(RESOURCES), "panel", "readings", "--path", "/readings/1", *words, "--json"]

    document = json.loads(tulle(*asked).stdout)

    assert (document["allowed"], document["route"]) == (True, route)


def test_why_says_what_is_no_header() -> None:
    done = tulle("why", "-f", str(RESOURCES), "panel", "readings", "--header", "x-test")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error[bad-header]: not a header: 'x-test'\nhint: NAME:VALUE\n"


def test_a_directory_that_is_not_ours_alone_is_no_defect(tmp_path: Path, nowhere: dict[str, str]) -> None:
    state, manifest = Path(nowhere["TULLE_STATE_DIR"]), tmp_path / "mesh.yaml"
    state.mkdir()
    state.chmod(0o777)
    manifest.write_text("mesh: plain\nservices: {job: {run: sleep 9, isolation: none}}\n")

    done = tulle("up", "--detach", str(manifest), **nowhere)
    checked = tulle("check", "--json", **nowhere)

    assert done.returncode == 1
    assert done.stderr.startswith(f"error[unsafe-directory]: {state} is writable for others (mode 0777)\nhint: ")
    (row,) = [row for row in json.loads(checked.stdout) if row["probe"] == "directories"]
    assert (row["possible"], row["reason"]) == (False, f"{state} is writable for others (mode 0777)")


def test_a_place_that_is_closed_to_us_is_no_defect(tmp_path: Path, nowhere: dict[str, str]) -> None:
    manifest = tmp_path / "mesh.yaml"
    manifest.write_text("mesh: plain\nservices: {job: {run: sleep 9, isolation: none}}\n")

    done = tulle("up", "--detach", str(manifest), **nowhere | {"TULLE_STATE_DIR": "/sys/kernel/tulle"})

    assert done.returncode == 1
    assert done.stderr.startswith("error[not-permitted]: /sys/kernel/tulle: ")
    assert "TULLE_STATE_DIR" in done.stderr


def test_completion_names_the_verbs() -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_TULLE_COMPLETE" in tulle("completion", shell).stdout
    done = tulle(_TULLE_COMPLETE="bash_complete", COMP_WORDS="tulle ro", COMP_CWORD="1")
    assert done.stdout.strip() == "plain,rollback"


def test_up_refuses_where_pods_are_impossible(nowhere: dict[str, str]) -> None:
    done = run_denied("unshare", "up", str(SHOP), **nowhere)

    assert done.returncode == 1
    assert done.stderr.startswith("error[pods-impossible]: pods are impossible on this box: ")
    assert "hint: " in done.stderr
