"""The process that pods are forked from, without a supervisor: each order is carried out once, by the code that it began with."""

import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

pytestmark = pytest.mark.user

SOURCE = Path(__file__).parents[2] / "src" / "tulle"
START = """
import os, socket, sys
from tulle.kit import privileges
from tulle.supervisor.init import Service
from tulle.supervisor.launch import Dialling, Order
from tulle.supervisor.loop import Loop
from tulle.supervisor.stem import Stem
from tulle.supervisor.user import Identity

privileges.adopt_orphans()
me = Identity(os.getuid(), os.getgid(), [], "/", "me", changes=False)
service = Service(["/nowhere/program"], {}, "/", me, None, "", None, 1, 2, 1024)

def ask(stem, order):
    "The pid, or 0; and the first word of each line that whoever carries it out says."
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            try:
                pid = stem.launch(order, theirs)
            except TimeoutError:
                pid = 0
        said = []
        while words := ours.recv(1024):
            said.append(words.split(b"\\0")[0].decode())
    return pid, said
"""
IMPATIENT = """
for microseconds in range(100, 10_000, 100):
    pid, said = ask(Stem(Loop(print), print, patience=microseconds / 1e6), Order(service, None))
    print(bool(pid), *said)
"""
AGAIN = """
stem = Stem(Loop(print), print, patience=float(sys.argv[1]))
asked = [ask(stem, Order(service, None)) for _ in range(40)]
pids = [pid for pid, said in asked if pid]
print(len(pids), len(set(pids)), all(said == ["cannot"] * bool(pid) for pid, said in asked))
"""
CONTAINER = """
from pathlib import Path
from tulle.supervisor.container import Container
from tulle.supervisor.container_mounts import Ground
from tulle.wire.plan import ContainerSpec

place, code = sys.argv[1:]
container = Container(ContainerSpec("image"), "", "1:1", "/tulle/none", place, {}, Ground([], [], [], []))
stem = Stem(Loop(print), print)
print(*ask(stem, Order(service, Dialling(), container))[1])
for module in Path(code).rglob("*.py"):
    module.write_text("raise SystemError('of another version')")
print(*ask(stem, Order(service, Dialling(), container))[1])
"""


def run(words: str, *arguments: str, source: Path = SOURCE) -> str:
    done = subprocess.run(
        [sys.executable, "-c", START + words, *arguments],
        env={"PYTHONPATH": str(source.parent), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


def test_an_order_is_carried_out_once_or_never_however_late_its_answer_comes() -> None:
    outcomes = run(IMPATIENT).splitlines()

    assert len(outcomes) == 99
    assert set(outcomes) <= {"True cannot", "False"}


@pytest.mark.parametrize("patience", ["0.0005", "0.002", "0.005"])
def test_an_answer_that_comes_late_is_not_taken_for_the_next_ones(patience: str) -> None:
    pids, distinct, is_once_or_never = run(AGAIN, patience).split()

    assert (distinct, is_once_or_never) == (pids, "True")


def test_every_order_is_carried_out_where_there_is_time() -> None:
    assert run(AGAIN, "60") == "40 40 True\n"


def test_containers_start_again_by_the_code_that_runs_whatever_lies_on_the_disk(tmp_path: Path) -> None:
    code = copytree(SOURCE, tmp_path / "src" / "tulle", ignore=lambda *_: ["__pycache__"])

    assert run(CONTAINER, str(tmp_path / "place"), str(code), source=code) == "impossible\nimpossible\n"
