"""The probe makes a pod for real, and names the step that a box refuses."""

import subprocess

import pytest

from tests.support.supervised import RUNNERS, Supervised

pytestmark = pytest.mark.user

DENIED = "from tulle.kit import privileges, seccomp; privileges.refuse_new_privileges(); seccomp.confine()\n"
PROBE = "from tulle.supervisor.probe import probe_pods; print(probe_pods())"


def probe(runner: str, before: str = "") -> str:
    box = Supervised(runner)
    with box.prepared_only():
        return subprocess.run(
            [box.python, "-c", before + PROBE],
            env={"PYTHONPATH": str(box.directory / "src")},
            user=box.uid if box.uid != box.own_uid else None,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout.strip()


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_box_that_can_make_pods_has_no_problem(runner: str) -> None:
    assert probe(runner) == "None"


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_denied_namespace_is_named_with_its_remedy(runner: str) -> None:
    answer = probe(runner, DENIED)

    step = {"root": "namespaces: ", "user": "user-namespace: "}[runner]
    assert answer.startswith(f"{step}unshare: Operation not permitted")
    assert "Run as root" in answer or "or run as root" in answer
