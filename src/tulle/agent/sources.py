"""The manifests on disk: what they hold now, and when they change."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

SUFFIXES = (".yaml", ".yml")


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

    def directories(self) -> set[Path]:
        """What to watch: each directory given, the parent of each file, where links lead; for what is gone, what stands."""
        return {_standing(one if one.is_dir() else one.parent) for one in self._places()}

    def concerned(self, changed: Iterable[Path]) -> bool:
        """Whether a change of these paths may mean a change of the manifests."""
        places = self._places()
        on_the_way = {parent for one in places for parent in one.parents}
        within = {one if one.is_dir() else one.parent for one in places}
        return any(
            path in places
            or path in on_the_way
            or (path.parent in within and (path.suffix in SUFFIXES or path.is_symlink()))
            for path in changed
        )

    def _places(self) -> set[Path]:
        return {one for path in (*self.paths, *self._files()) for one in (path.absolute(), _resolved(path))}

    def _files(self) -> Iterator[Path]:
        for path in self.paths:
            if path.is_dir():
                yield from sorted(one for one in path.iterdir() if one.suffix in SUFFIXES)
            else:
                yield path


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _standing(directory: Path) -> Path:
    while not directory.is_dir() and directory != directory.parent:
        directory = directory.parent
    return directory
