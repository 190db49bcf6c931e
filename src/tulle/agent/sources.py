"""The manifests on disk: what they hold now, and when they change."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tulle.manifest.read import SUFFIXES, is_directory


class Sources:
    """The files and directories that the mesh was started with."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def digest(self) -> str:
        """SHA-256 over names and contents; what cannot be read counts by its error."""
        whole = hashlib.sha256()
        for path in self._files():
            try:
                content = path.read_bytes()
            except OSError as fault:
                content = f"\0{fault.errno}".encode()
            whole.update(f"{path}\0{len(content)}\0".encode(errors="surrogateescape"))
            whole.update(content)
        return whole.hexdigest()

    def octets(self) -> int:
        """How large they are together; what cannot be read counts nothing."""
        found = 0
        for path in self._files():
            with suppress(OSError):
                found += path.stat().st_size
        return found

    def directories(self) -> set[Path]:
        """What to watch: each directory given, the parent of each file, where links lead; for what is gone, what stands."""
        return {_standing(_directory(one)) for one in self._places()}

    def concerned(self, changed: Iterable[Path]) -> bool:
        """Whether a change of these paths may mean a change of the manifests."""
        places = self._places()
        on_the_way = {parent for one in places for parent in one.parents}
        within = {_directory(one) for one in places}
        return any(
            path in places
            or path in on_the_way
            or (path.parent in within and (path.suffix in SUFFIXES or os.path.islink(path)))  # noqa: PTH114  (raises nothing where it is closed)
            for path in changed
        )

    def _places(self) -> set[Path]:
        return {one for path in (*self.paths, *self._files()) for one in (path.absolute(), _resolved(path))}

    def _files(self) -> Iterator[Path]:
        for path in self.paths:
            try:
                yield from sorted(one for one in path.iterdir() if one.suffix in SUFFIXES)
            except OSError:  # a file; or a directory that cannot be read, which counts by that
                yield path


def _directory(path: Path) -> Path:
    return path if is_directory(path) else path.parent


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _standing(directory: Path) -> Path:
    while not is_directory(directory) and directory != directory.parent:
        directory = directory.parent
    return directory
