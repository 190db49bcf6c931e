"""`tulle logs`: what services and Tulle's own processes wrote, in one stream ordered by time."""

import heapq
import select
from collections.abc import Generator, Iterable
from pathlib import Path

import click

from tulle.cli.log_files import Line, LogReader
from tulle.cli.options import json_option, mesh_option
from tulle.cli.words import Exit, Failure, show
from tulle.model.names import qualify

ACCESS = "access"
OURS = ("supervisor", "agent", "proxy", ACCESS)
"""What Tulle itself writes: shown when asked for."""
SUFFIX = ".log"


@click.command()
@click.argument("services", metavar="[SERVICE...]", nargs=-1)
@click.option("--follow", "-f", is_flag=True, help="Go on as lines are written.")
@click.option("--tail", "-n", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of all.")
@click.option("--all", "everything", is_flag=True, help="Supervisor, agent, proxy and access log too.")
@mesh_option
@json_option
def logs(
    services: tuple[str, ...], follow: bool, tail: int | None, everything: bool, mesh: str | None, as_json: bool
) -> None:
    """Print the output of services, all in one stream by time; rotated files included.

    SERVICE is a workload (`web`, `prod/payments`), all versions of it (`orders` for `orders-v1`), or `supervisor`,
    `agent`, `proxy`. `access` is the access log: refused and failed requests and some of the others, with --json as
    they are stored. The logs of a mesh that has ended are still there: name it with --mesh.
    """
    directory = log_directory(mesh)
    sources = chosen(sources_in(directory), services, everything)
    lines, readers = read_all(directory, sources)
    try:
        for line in lines if tail is None else lines[max(0, len(lines) - tail) :]:
            _show(line, as_json)
        if follow:
            for line in followed(directory, readers, None if everything else services):
                _show(line, as_json)
    finally:
        for reader in readers.values():
            reader.close()


def log_directory(mesh: str | None) -> Path:
    """Of the mesh that runs, or of the one named."""
    from tulle.cli.running import running
    from tulle.kit import paths

    try:
        name = mesh or running(mesh).name
    except Failure as fault:
        if not (kept := _kept()):
            raise
        raise Failure(
            fault.code, fault.message, hint=f"logs are kept of {kept}: say --mesh NAME", exit=fault.exit
        ) from None
    directory = paths.log_dir(name, create=False)
    if not directory.is_dir():
        raise Failure("no-logs", f"there are no logs of mesh `{name}`", exit=Exit.NOT_RUNNING)
    return directory


def _kept() -> str:
    """Meshes that have logs, whether they run or not."""
    from tulle.kit import paths, places

    parent = Path(places.log_parent() or places.state_parent())
    try:
        names = sorted(one.name for one in parent.iterdir())
    except OSError:
        return ""
    return ", ".join(name for name in names if paths.log_dir(name, create=False).is_dir())


def sources_in(directory: Path) -> list[str]:
    """Everything that has a log there."""
    return sorted({_source(path.name) for path in directory.iterdir() if SUFFIX in path.name})


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

            others = nearest(qualify(word), known) or f"there is: {', '.join(known) or 'nothing'}."
            hint = f"{others} Whoever never wrote has no log: `tulle status` says how it is"
            raise Failure("no-such-log", f"nothing named `{word}` has written anything", hint=hint, exit=Exit.USAGE)
        found += [one for one in matching if one not in found]
    return found + [one for one in OURS if everything and one in known and one not in found]


def is_meant(word: str, source: str) -> bool:
    """`orders` means default/orders and its versions; in another namespace the namespace is said."""
    if source in OURS:
        return word == source
    name = qualify(word)
    return source == name or source.startswith(f"{name}-")


def read_all(directory: Path, sources: Iterable[str]) -> tuple[list[Line], dict[str, LogReader]]:
    """All lines by time, and readers that go on from there."""
    readers = {source: _reader(directory, source) for source in sources}
    return list(heapq.merge(*(one.read() for one in readers.values()))), readers


def followed(
    directory: Path, readers: dict[str, LogReader], services: Iterable[str] | None
) -> Generator[Line, None, None]:
    """New lines as they are written, also of logs that appear; woken by inotify, not by a clock."""
    from tulle.kit.inotify import Inotify

    inotify = Inotify(modified=True)
    inotify.watch(directory)
    words = None if services is None else list(services)
    try:
        while True:
            for source in sources_in(directory):
                if source not in readers and _is_followed(source, words):
                    readers[source] = _reader(directory, source)
            yield from sorted(line for one in readers.values() for line in one.read())
            select.select([inotify.fileno()], [], [])
            inotify.read()
    finally:
        inotify.close()


def _is_followed(source: str, words: list[str] | None) -> bool:
    if words is None:
        return True
    return any(is_meant(word, source) for word in words) if words else source not in OURS


def _reader(directory: Path, source: str) -> LogReader:
    return LogReader(directory / f"{source.replace('/', '_', 1)}{SUFFIX}", source)


def _source(file_name: str) -> str:
    return file_name.partition(SUFFIX)[0].replace("_", "/", 1)


def _show(line: Line, as_json: bool) -> None:
    if line.source == ACCESS:
        from tulle.cli.tap import words_of_access

        show(line.text if as_json else words_of_access(line.text))
    elif as_json:
        import json

        words = {"time": line.stamp, "source": line.source, "stream": line.stream, "text": line.text}
        show(json.dumps(words, ensure_ascii=False))
    else:
        show(f"{line.stamp[11:23]} {line.source}  {line.text}")
