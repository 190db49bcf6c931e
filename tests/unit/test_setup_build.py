"""The build that is tested is the one that was asked for: TULLE_BUILD=pure or compiled, as `make test` says."""

import importlib
import os
import sys
from pathlib import Path

import pytest

import hatch_build

pytestmark = pytest.mark.user

MODULES = [".".join(path.with_suffix("").parts[1:]) for path in hatch_build.hot_modules(hatch_build.module_globs())]


@pytest.mark.parametrize("name", MODULES)
def test_hot_module_is_built_as_asked(name: str) -> None:
    suffix = ".so" if os.environ.get("TULLE_BUILD", "pure") == "compiled" else ".py"

    file = importlib.import_module(name).__file__

    assert file is not None
    assert Path(file).suffix == suffix


def test_nothing_compiled_lies_among_the_sources() -> None:
    assert list((hatch_build.ROOT / "src").rglob("*.so")) == []


def test_compiled_tree_holds_every_source() -> None:
    sources = {path.relative_to(hatch_build.ROOT / "src") for path in (hatch_build.ROOT / "src/tulle").rglob("*.py")}
    first = Path(str(sys.modules["tulle"].__file__)).parent.parent

    assert {path.relative_to(first) for path in (first / "tulle").rglob("*.py")} == sources


def test_wish_to_compile_is_refused_where_there_is_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc")
    monkeypatch.delenv("TULLE_COMPILE", raising=False)

    assert "no C compiler `/nonexistent/cc`" in str(hatch_build.refusal())

    monkeypatch.setenv("TULLE_COMPILE", "1")
    with pytest.raises(SystemExit, match="no C compiler"):
        hatch_build.refusal()
