"""Modules that the standard library imports for what Tulle's processes hardly do: each is read once somebody asks it for something."""

from __future__ import annotations

import os
import sys
from _thread import RLock
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec


def _is_function(one: object) -> bool:
    return isinstance(one, FunctionType)


def _unwrap(one: Any, *, stop: Callable[[Any], bool] | None = None) -> Any:
    while hasattr(one, "__wrapped__") and not (stop and stop(one)):
        one = one.__wrapped__
    return one


def _what_has(extension: str) -> dict[str, object]:
    return {name: value for name, value in vars(__import__(extension)).items() if not name.startswith("__")}


def _system() -> str:
    return os.uname().sysname


NEVER: dict[str, dict[str, object]] = {
    "datetime": _what_has("_datetime"),  # msgspec; all of it, in Python once more up to 3.11
    "gettext": {"gettext": str},  # getopt
    "inspect": {
        "isfunction": _is_function,
        "unwrap": _unwrap,
    },  # asyncio, to show tasks; dataclasses. With it ast and dis
    "platform": {"system": _system},  # uuid, for msgspec
    "subprocess": {"PIPE": -1, "STDOUT": -2, "DEVNULL": -3},  # asyncio
    "ipaddress": {},  # urllib.parse, for whole URLs
    "asyncio.sslproto": {},
    "msgspec.inspect": {},
}
"""Who imports it, and what of it may be asked for even where no file can be read any more. 2.3 MB of agent and proxy (CPython 3.11)."""

SELDOM: dict[str, dict[str, object]] = {
    **NEVER,
    "textwrap": {},  # traceback, for groups of exceptions
    "selectors": {},  # socket
    "tokenize": {},  # linecache
}
"""For processes that may read their own code later."""

_lock = RLock()


def defer(modules: Mapping[str, Mapping[str, object]]) -> None:
    """From now on importing one of these reads nothing until it is used. Call it before all else."""
    sys.meta_path.insert(0, _Finder(modules))


class _Finder:
    def __init__(self, modules: Mapping[str, Mapping[str, object]]) -> None:
        self._modules = modules

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As the import system asks: what the others find, to be read later."""
        if name not in self._modules:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec and spec.loader:
                spec.loader = _Later(spec.loader, self._modules[name])  # type: ignore[assignment]
                return spec
        return None


class _Later:
    def __init__(self, loader: Loader, known: Mapping[str, object]) -> None:
        self.loader = loader
        self._known = known

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """One that is as good as empty."""
        return _Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Reads nothing."""
        vars(module).update(self._known)


class _Deferred(ModuleType):
    """Becomes the module that it stands for when it is asked for what it has not."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with _lock:
            later = self.__loader__
            if isinstance(later, _Later) and self.__spec__:
                self.__spec__.loader = self.__loader__ = later.loader
                try:
                    later.loader.exec_module(self)
                except BaseException:
                    self.__spec__.loader = self.__loader__ = later
                    raise
                self.__class__ = ModuleType
        if name in vars(self) or type(self) is ModuleType:
            return getattr(self, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} yet")
