"""What a run was made on: the machine, and the versions of everything in it."""

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

VERSION = re.compile(r"\d+\.\d+[\w.+~-]*")


def facts(root: Path) -> dict[str, str]:
    """Words for the head of the report, by name; what is not there is left out."""
    said = {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "kernel": platform.release(),
        "system": _system(),
        "python": platform.python_version(),
        "revision": _revision(root),
        "haproxy": _version("haproxy", "-v"),
        "nginx": _version("nginx", "-v"),
        "envoy": _envoy(),
        "wrk": _version("wrk", "-v"),
        "gcc": _version("gcc", "--version"),
    }
    return {name: words for name, words in said.items() if words}


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, words = line.partition(":")
        if name.strip() in {"model name", "Model", "Processor"}:
            return words.strip()
    return platform.machine()


def _memory() -> str:
    [line] = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:")]
    return f"{int(line.split()[1]) / 1024 / 1024:.1f} GB"


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _revision(root: Path) -> str:
    revision = _said("git", "-C", str(root), "rev-parse", "--short=12", "HEAD").strip()
    changed = _said("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks")
    return f"{revision} with changes" if revision and changed.strip() else revision


def _envoy() -> str:
    found = re.search(r"/(\d+\.\d+\.\d+)/", _said(str(Path(sys.prefix) / "bin" / "envoy"), "--version"))
    return found[1] if found else ""


def _version(*command: str) -> str:
    found = VERSION.search(_said(*command))
    return found[0] if found else ""


def _said(*command: str) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if said.returncode and not VERSION.search(said.stdout + said.stderr):
        return ""
    return said.stdout + said.stderr
