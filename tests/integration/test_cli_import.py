"""`tulle import` as a person meets it: what goes where, what is never overwritten, how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOP = """\
services:
  web:
    image: example/web:1
    ports: ["8080:80"]
    tty: true
    volumes: ["./data:/data"]
    environment: {KEY_FILE: /k, GREETING: "${GREETING:-hello}"}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project's directory."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "compose.yaml").write_text(SHOP)
    return tmp_path / "shop"


def tulle(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    return subprocess.run(
        [sys.executable, "-m", "tulle.cli", *map(str, words)],
        capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env=given | environment,
    )  # fmt: skip


def test_the_mesh_file_goes_to_stdout_and_what_was_lost_to_stderr(shop: Path) -> None:
    done = tulle("import", "compose.yaml", cwd=shop)

    assert done.returncode == 0
    assert "mesh: shop # proposed: the project's name" in done.stdout
    assert "GREETING: hello" in done.stdout
    assert (
        "not carried: services.web.tty: true\n  --> compose.yaml:5\nwhy: nobody sits before a container of a mesh\n"
        in done.stderr
    )
    assert done.stderr.endswith("compose.yaml: 1 not carried, 2 changed, 1 proposed\n")


def test_what_it_writes_is_what_validate_takes(shop: Path) -> None:
    written = tulle("import", "compose.yaml", "-o", "mesh.yaml", cwd=shop)
    assert (written.returncode, written.stdout) == (0, "")

    assert tulle("validate", "mesh.yaml", cwd=shop).stderr == "valid: mesh `shop`, 5 resources, 1 services\n"


def test_a_file_that_is_there_is_left_alone_unless_forced(shop: Path) -> None:
    (shop / "mesh.yaml").write_text("mine")

    refused = tulle("import", "compose.yaml", "-o", "mesh.yaml", cwd=shop)

    assert refused.returncode == 2
    assert refused.stderr == "error[exists]: mesh.yaml exists\nhint: `--force` replaces it\n"
    assert (shop / "mesh.yaml").read_text() == "mine"
    assert tulle("import", "compose.yaml", "-o", "mesh.yaml", "--force", cwd=shop).returncode == 0
    assert (shop / "mesh.yaml").read_text().startswith("# Made by")


def test_a_link_to_nothing_is_not_written_through(shop: Path) -> None:
    (shop / "mesh.yaml").symlink_to("elsewhere.yaml")

    assert tulle("import", "compose.yaml", "-o", "mesh.yaml", cwd=shop).returncode == 2
    assert not (shop / "elsewhere.yaml").exists()


def test_where_no_file_can_be_is_said_in_words(shop: Path) -> None:
    done = tulle("import", "compose.yaml", "-o", "compose.yaml/mesh.yaml", cwd=shop)

    assert done.returncode == 1
    assert "error[unwritable]: cannot write compose.yaml/mesh.yaml: Not a directory" in done.stderr


def test_a_mesh_file_that_holds_secrets_is_for_its_owner(shop: Path) -> None:
    (shop / "compose.yaml").write_text("services: {db: {image: i, environment: {DB_PASSWORD: hunter2}}}")

    done = tulle("import", "compose.yaml", "-o", "mesh.yaml", cwd=shop)

    assert (shop / "mesh.yaml").stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in done.stderr
    assert "secret: services.db.environment.DB_PASSWORD: …\n  --> compose.yaml:1\n" in done.stderr


def test_strict_ends_with_one_where_anything_is_not_as_it_was(shop: Path) -> None:
    assert tulle("import", "compose.yaml", "--strict", cwd=shop).returncode == 1

    (shop / "compose.yaml").write_text("services: {web: {image: i, pull_policy: never}}")
    whole = tulle("import", "compose.yaml", "--strict", cwd=shop)

    assert (whole.returncode, whole.stderr) == (0, "compose.yaml: all of it was carried over\n")


def test_programs_get_json(shop: Path) -> None:
    done = tulle("import", ".", "--json", cwd=shop)
    document = json.loads(done.stdout)

    assert document["mesh"].startswith("# Made by `tulle import compose.yaml`")
    assert {"fate": "not carried", "what": "services.web.tty: true", "file": "compose.yaml", "line": 5}.items() <= next(
        one for one in document["notes"] if "tty" in one["what"]
    ).items()
    assert done.stderr == ""


def test_variables_come_from_the_environment_then_from_the_file_beside(shop: Path) -> None:
    (shop / ".env").write_text("GREETING=from-file\n")
    (shop / "other.env").write_text("GREETING=from-other\n")

    assert "GREETING: from-file" in tulle("import", "compose.yaml", cwd=shop).stdout
    assert "GREETING: from-other" in tulle("import", "compose.yaml", "--env-file", "other.env", cwd=shop).stdout
    assert "GREETING: said" in tulle("import", "compose.yaml", cwd=shop, GREETING="said").stdout


def test_paths_lead_to_the_same_from_another_directory(shop: Path) -> None:
    tulle("import", "shop/compose.yaml", "-o", "mesh.yaml", cwd=shop.parent)

    assert f"{shop}/data:/data" in (shop.parent / "mesh.yaml").read_text()


def test_an_override_beside_it_is_named(shop: Path) -> None:
    (shop / "compose.override.yaml").write_text("services: {web: {tty: false}}")

    assert tulle("import", "compose.yaml", cwd=shop).stderr.startswith("not carried: compose.override.yaml\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services: [", "error[bad-yaml]: "),
        ("services: {web: {image: i, ports: [a]}}", "error[bad-value]: `services.web.ports[0]` is no port"),
        ("a: &a [x]\nb: *b", "error[bad-yaml]: alias `*b` has no anchor before it"),
    ],
)
def test_a_broken_compose_file_ends_with_three_and_every_problem(shop: Path, text: str, said: str) -> None:
    (shop / "compose.yaml").write_text(text)

    done = tulle("import", "compose.yaml", "-o", "mesh.yaml", cwd=shop)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(said)
    assert "--> compose.yaml:" in done.stderr
    assert not (shop / "mesh.yaml").exists()


def test_no_file_is_a_failure_in_words(shop: Path) -> None:
    assert (
        tulle("import", "gone.yaml", cwd=shop).stderr
        == "error[unreadable]: cannot read gone.yaml: No such file or directory\n"
    )
    assert tulle("import", "..", cwd=shop).stderr.startswith("error[unreadable]: no compose.yaml, ")
    assert tulle("import", "compose.yaml", "-o", "no/mesh.yaml", cwd=shop).returncode == 1


def test_neither_a_device_nor_a_pipe_is_read_as_variables(shop: Path) -> None:
    os.mkfifo(shop / ".env")
    (shop / "compose.yaml").write_text("services: {web: {image: i, env_file: [.env, /dev/zero]}}")

    done = tulle("import", "compose.yaml", cwd=shop)

    assert done.returncode == 3
    assert done.stderr.count("error[unreadable]") == 2
