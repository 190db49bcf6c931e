"""`tulle logs`: what services and Tulle's own processes wrote, in one stream ordered by time."""

import heapq
import os
import select
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from tulle.cli.options import json_option, mesh_option
from tulle.cli.words import Exit, Failure, show

OURS = ("supervisor", "agent", "proxy")
"""Tulle's own processes: shown when asked for."""
_SUFFIX = ".log"


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One line of one log."""

    stamp: str
    """RFC 3339 with nanoseconds, UTC: sorts as text."""
    source: str
    """`namespace/workload`, or one of OURS."""
    stream: str
    text: str


@click.command()
@click.argument("services", metavar="[SERVICE...]", nargs=-1)
@click.option("--follow", "-f", is_flag=True, help="Go on as lines are written.")
@click.option("--tail", "-n", default=-1, metavar="N", help="Only the last N lines of all.")
@click.option("--all", "everything", is_flag=True, help="Supervisor, agent and proxy too.")
@mesh_option
@json_option
def logs(services: tuple[str, ...], follow: bool, tail: int, everything: bool, mesh: str | None, as_json: bool) -> None:
    """Print the output of services, all in one stream by time; rotated files included.

    SERVICE is a workload (`web`, `prod/payments`), all versions of it (`orders` for `orders-v1`), or `supervisor`,
    `agent`, `proxy`. The logs of a mesh that has ended are still there: name it with --mesh.
    """
    directory = log_directory(mesh)
    sources = chosen(sources_in(directory), services, everything)
    lines, offsets = read_all(directory, sources)
    for line in lines[len(lines) - tail if 0 <= tail < len(lines) else 0 :]:
        _show(line, as_json)
    if follow:
        wanted = None if everything else services
        for line in followed(directory, offsets, wanted):
            _show(line, as_json)


def log_directory(mesh: str | None) -> Path:
    """Of the mesh that runs, or of the one named."""
    from tulle.cli.running import running
    from tulle.kit import paths

    directory = paths.log_dir(mesh or running(mesh).name, create=False)
    if not directory.is_dir():
        raise Failure("no-logs", f"there are no logs of mesh `{mesh}`", exit=Exit.NOT_RUNNING)
    return directory


def sources_in(directory: Path) -> list[str]:
    """Everything that has a log there."""
    return sorted({_source(path.name) for path in directory.iterdir() if _SUFFIX in path.name})


def chosen(sources: Iterable[str], services: Iterable[str], everything: bool) -> list[str]:
    """The sources that these words mean; all services without words."""
    known = list(sources)
    if not (words := list(services)):
        return [one for one in known if everything or one not in OURS]
    found: list[str] = []
    for word in words:
        matching = [one for one in known if is_meant(word, one)]
        if not matching and word not in OURS:
            from tulle.model.place import nearest

            hint = nearest(word if "/" in word else f"default/{word}", known) or f"there is: {', '.join(known)}"
            raise Failure("no-such-log", f"nothing named `{word}` has written anything", hint=hint, exit=Exit.USAGE)
        found += [one for one in matching if one not in found]
    return found + [one for one in OURS if everything and one in known and one not in found]


def is_meant(word: str, source: str) -> bool:
    """`orders` means default/orders and its versions; in another namespace the namespace is said."""
    if source in OURS:
        return word == source
    name = word if "/" in word else f"default/{word}"
    return source == name or source.startswith(f"{name}-")


def read_all(directory: Path, sources: Iterable[str]) -> tuple[list[Line], dict[Path, int]]:
    """All lines by time, and how far each current file was read."""
    streams: list[list[Line]] = []
    offsets: dict[Path, int] = {}
    for source in sources:
        current = directory / f"{source.replace('/', '_', 1)}{_SUFFIX}"
        older = sorted(directory.glob(f"{current.name}.[0-9]*"), key=lambda path: -int(path.suffix[1:]))
        tail = Tail(source)
        lines: list[Line] = []
        for path in (*older, current):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                continue
            lines += tail.feed(text)
            if path == current:
                offsets[current] = len(text)
        streams.append(lines)
    return list(heapq.merge(*streams)), offsets


class Tail:
    """Makes lines of a log's octets, wherever they were cut; parts of a long line are joined."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._rest = b""
        self._parts: list[str] = []

    def feed(self, octets: bytes) -> list[Line]:
        """The lines that are complete now."""
        *records, self._rest = (self._rest + octets).split(b"\n")
        found = []
        for record in records:
            stamp, stream, flag, text = _columns(record.decode(errors="replace"))
            self._parts.append(text)
            if flag != "P":
                found.append(Line(stamp, self._source, stream, "".join(self._parts)))
                self._parts = []
        return found


def _columns(record: str) -> tuple[str, str, str, str]:
    """Stamp, stream, flag and text; a record of another form is all text."""
    match record.split(" ", 3):
        case [stamp, stream, "F" | "P" as flag, text]:
            return stamp, stream, flag, text
        case _:
            return "", "", "F", record


def followed(directory: Path, offsets: dict[Path, int], services: Iterable[str] | None) -> Iterator[Line]:
    """New lines as they are written, also of logs that appear; woken by inotify, not by a clock."""
    from tulle.kit.inotify import Inotify

    files: dict[Path, tuple[BinaryIO, Tail]] = {}
    for path, offset in offsets.items():
        opened: BinaryIO = path.open("rb")
        opened.seek(offset)
        files[path] = (opened, Tail(_source(path.name)))
    inotify = Inotify(modified=True)
    inotify.watch(directory)
    words = None if services is None else list(services)
    while True:
        batch: list[Line] = []
        for path in sorted(directory.glob(f"*{_SUFFIX}")):
            if path not in files and _is_followed(_source(path.name), words):
                files[path] = (path.open("rb"), Tail(_source(path.name)))
        for path, (opened, tail) in list(files.items()):
            batch += tail.feed(opened.read())
            if _was_rotated(path, opened):
                batch += tail.feed(opened.read())
                opened.close()
                files[path] = (path.open("rb"), tail)
                batch += tail.feed(files[path][0].read())
        yield from sorted(batch)
        select.select([inotify.fileno()], [], [])
        inotify.read()


def _is_followed(source: str, words: list[str] | None) -> bool:
    if words is None:
        return True
    return any(is_meant(word, source) for word in words) if words else source not in OURS


def _was_rotated(path: Path, opened: BinaryIO) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(opened.fileno()))
    except FileNotFoundError:
        return False


def _source(file_name: str) -> str:
    return file_name.partition(_SUFFIX)[0].replace("_", "/", 1)


def _show(line: Line, as_json: bool) -> None:
    if as_json:
        import json

        words = {"time": line.stamp, "source": line.source, "stream": line.stream, "text": line.text}
        show(json.dumps(words, ensure_ascii=False))
    else:
        show(f"{line.stamp[11:23]} {line.source}  {line.text}")
