"""Compiles the hot modules with mypyc where a C compiler is; says so where not.

As a hatchling hook it puts the extensions into a wheel. Run as a program, `python hatch_build.py build/compiled`, it makes a
copy of the sources with the extensions beside them, to be put first in PYTHONPATH. TULLE_COMPILE=0 keeps a wheel pure, =1
makes a missing compiler an error. An editable install is never compiled: an edited source must not be shadowed.
"""

import hashlib
import os
import shlex
import shutil
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a program, in an environment that builds no wheels
    BuildHookInterface = object

ROOT = Path(__file__).resolve().parent
SEAL = ".digest"
"""In a compiled tree: of what it was made."""


class CompileHook(BuildHookInterface):  # type: ignore[misc]
    """hatchling's custom build hook."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What compiling needs: the type checker, and what the sources import."""
        if self.target_name != "wheel" or refusal() is not None:
            return []
        return ["mypy>=1.19", "setuptools>=80", *self.metadata.core.dependencies]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the extensions to a standard wheel, or says why it stays pure."""
        if self.target_name != "wheel" or version != "standard":
            return
        why_not = refusal()
        if why_not is not None:
            self.app.display_info(f"tulle: pure wheel: {why_not}")
            return
        made = ROOT / "build" / "wheel"
        shutil.rmtree(made, ignore_errors=True)
        compile_modules(self.config["modules"], made)
        for extension in sorted(made.rglob("*.so")):
            build_data["force_include"][str(extension)] = str(extension.relative_to(made))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def refusal() -> str | None:
    """Why nothing is compiled; None when it is. Raises SystemExit where TULLE_COMPILE=1 asks for the impossible."""
    wish = os.environ.get("TULLE_COMPILE", "")
    if wish == "0":
        return "TULLE_COMPILE=0"
    lack = missing()
    if lack is not None and wish == "1":
        raise SystemExit(f"error: TULLE_COMPILE=1, but {lack}")
    return lack


def missing() -> str | None:
    """What compiling lacks on this box, with the remedy; None when nothing."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"no C compiler `{compiler}` (Debian: apt-get install gcc)"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python.h is missing (Debian: apt-get install python3-dev)"
    return None


def module_globs() -> list[str]:
    """The globs of pyproject.toml."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return list(config["tool"]["hatch"]["build"]["hooks"]["custom"]["modules"])


def hot_modules(globs: list[str]) -> list[Path]:
    """The sources that are compiled, relative to the root, in a stable order."""
    found = {path.relative_to(ROOT) for glob in globs for name in _spelt_out(glob) for path in ROOT.glob(name)}
    return sorted(path for path in found if path.name != "__init__.py")


def _spelt_out(glob: str) -> list[str]:
    """`a/{b,c}.py` is `a/b.py` and `a/c.py`."""
    before, brace, rest = glob.partition("{")
    names, _, after = rest.partition("}")
    return [f"{before}{name}{after}" for name in names.split(",")] if brace else [glob]


def compile_modules(globs: list[str], target: Path) -> None:
    """Compiles the hot modules into `target`; nothing but extensions is written there."""
    sources = hot_modules(globs)
    if not sources:
        return
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    os.chdir(ROOT)  # mypy derives module names from relative paths
    work = ROOT / "build" / "mypyc"
    options = ["--config-file=", "--follow-imports=silent", f"--cache-dir={work / 'cache'}"]
    extensions = mypycify(
        [*options, *map(str, sources)], opt_level="3", group_name="tulle", target_dir=str(work / "c"), multi_file=True
    )
    command = build_ext(Distribution({"name": "tulle", "ext_modules": extensions}))
    command.build_lib = str(target)
    command.build_temp = str(work / "o")
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.run()


def make_compiled_tree(target: Path) -> None:
    """Makes `target`/tulle: the sources, and the extensions of the hot ones. Compiles again only when a source changed."""
    if is_current(target):
        return
    digest = digest_of_sources()
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "src" / "tulle", target / "tulle", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    compile_modules(module_globs(), target)
    (target / SEAL).write_text(digest)


def is_current(target: Path) -> bool:
    """Whether `target` was made whole, and of these very sources."""
    seal = target / SEAL
    return seal.exists() and seal.read_text() == digest_of_sources()


def digest_of_sources() -> str:
    """Of the interpreter, this file, all sources, and which of them are hot."""
    digest = hashlib.sha256(sys.version.encode() + Path(__file__).read_bytes())
    for source in sorted((ROOT / "src" / "tulle").rglob("*.py")):
        digest.update(f"{source.relative_to(ROOT)}\n".encode() + source.read_bytes())
    for hot in hot_modules(module_globs()):
        digest.update(f"{hot}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1] == "--missing":
        print(missing() or "", end="")
    elif len(sys.argv) == 2:
        make_compiled_tree(Path(sys.argv[1]).resolve())
    else:
        raise SystemExit("usage: hatch_build.py DIRECTORY | --missing")
