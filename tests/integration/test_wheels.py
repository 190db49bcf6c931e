"""Either wheel, installed into an empty environment outside the tree, gives a working `tulle`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hatch_build
from tests.support.processes import is_running
from tests.support.running import Door, peer, running
from tools.ports import free_port

UV = Path(sys.executable).parent / "uv"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is made from, so that a build leaves nothing in the tree."""
    copy = tmp_path_factory.mktemp("sources") / "tulle"
    copy.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(hatch_build.ROOT / name, copy)
    shutil.copytree(hatch_build.ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.timeout(600)
@pytest.mark.parametrize("build", ["pure", "compiled"])
def test_wheel_gives_a_working_tulle(build: str, sources: Path, tmp_path: Path) -> None:
    lack = hatch_build.missing()
    if build == "compiled" and lack is not None:
        pytest.skip(lack)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["TULLE_COMPILE"] = "1" if build == "compiled" else "0"

    _run(UV, "build", "--wheel", "--python", sys.executable, "--out-dir", tmp_path / "dist", sources, env=environment)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl") == (build == "pure")

    _run(UV, "venv", "--python", sys.executable, tmp_path / "venv", env=environment)
    python = tmp_path / "venv" / "bin" / "python"
    _run(UV, "pip", "install", "--python", python, wheel, env=environment)
    import_all = (
        "import importlib, pkgutil, tulle\n"
        "names = [m.name for m in pkgutil.walk_packages(tulle.__path__, 'tulle.') if not m.name.endswith('__main__')]\n"
        "print(*(importlib.import_module(name).__file__ for name in names), sep='\\n')"
    )
    files = _run(python, "-c", import_all, env=environment, cwd=tmp_path).split()
    assert files
    assert all(Path(file).is_relative_to(tmp_path / "venv") for file in files)
    hot = [file for file in files if file.endswith(".so")]
    assert len(hot) == (len(hatch_build.hot_modules(hatch_build.module_globs())) if build == "compiled" else 0)
    tulle = tmp_path / "venv" / "bin" / "tulle"
    assert "0.1.0" in _run(tulle, "version", env=environment, cwd=tmp_path)
    _carries_a_mesh(tulle)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("installer", ["pipx", "uv"])
def test_a_tool_installer_puts_tulle_on_the_path_and_takes_it_off_again(
    installer: str, sources: Path, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"TULLE_COMPILE": "0", "PIPX_DEFAULT_PYTHON": sys.executable, "HOME": str(tmp_path / "home")}
    for name in ("PIPX_HOME", "PIPX_BIN_DIR", "PIPX_MAN_DIR", "UV_TOOL_DIR", "UV_TOOL_BIN_DIR"):
        environment[name] = str(tmp_path / name.lower())
    _run(UV, "build", "--wheel", "--python", sys.executable, "--out-dir", tmp_path / "dist", sources, env=environment)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    if installer == "pipx":
        _run(UV, "venv", "--python", sys.executable, tmp_path / "venv", env=environment)
        _run(UV, "pip", "install", "--python", tmp_path / "venv/bin/python", "pipx", env=environment)
    command = [UV, "tool"] if installer == "uv" else [tmp_path / "venv/bin/pipx"]
    tulle = tmp_path / ("uv_tool_bin_dir" if installer == "uv" else "pipx_bin_dir") / "tulle"

    _run(*command, "install", "--python", sys.executable, wheel, env=environment)

    assert _run(tulle, "--version", env=environment, cwd=tmp_path) == "tulle 0.1.0\n"
    mesh = hatch_build.ROOT / "examples/hello/mesh.yaml"
    _run(tulle, "validate", mesh, env=environment, cwd=tmp_path)
    assert "kind: Service" in _run(tulle, "expand", mesh, env=environment, cwd=tmp_path)
    unit = _run(tulle, "install", "--dry-run", mesh, env=environment, cwd=tmp_path)
    assert f"ExecStart={tmp_path}" in unit
    _run(*command, "uninstall", "tulle", env=environment)
    assert not tulle.exists()


def _carries_a_mesh(tulle: Path) -> None:
    """From `up` to `down`, with a call from pod to pod and one that is refused."""
    door = free_port()
    text = f"""
mesh: wheel
services:
  web: {{run: {peer("web")}, port: 8080, expose: {door}, allow: [{{}}], calls: [api]}}
  api: {{run: {peer("api")}, port: 8080, allow: [{{from: [web], paths: [/open]}}]}}
"""
    with running("wheel", text, program=tulle) as mesh:
        processes = mesh.processes.all()
        own = [mesh.processes.pid(role) for role in ("supervisor", "agent", "proxy")]
        assert {_program(pid) for pid in own} == {str(tulle.with_name("python"))}
        called = Door(door).call("http://api:8080/open")
        refused = Door(door).call("http://api:8080/shut")
        status = mesh.tulle("status").stdout
        down = mesh.tulle("down").stderr

    assert (called["status"], json.loads(called["body"])["name"]) == (200, "api")
    assert (refused["status"], refused["reason"]) == (403, "denied")
    assert "wheel (ready)" in status
    assert "has ended" in down
    assert [pid for pid in processes if is_running(pid)] == []


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]


def _run(*command: str | Path, env: dict[str, str], cwd: Path | None = None) -> str:
    ended = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
