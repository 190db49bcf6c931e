"""`tulle import`: a compose file as a mesh file, and a list of all that could not be carried over."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from tulle.cli.options import json_option
from tulle.cli.words import Ended, Exit, Failure, say, say_faults, show, show_json, yellow

if TYPE_CHECKING:
    from tulle.manifest.compose import Imported, Surroundings
    from tulle.model.place import Problem

COMPOSE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""Looked for in a directory, the first that is there."""


@click.command("import")
@click.argument("path", metavar="FILE|DIR", type=click.Path(path_type=Path))
@click.option("--output", "-o", metavar="FILE", type=click.Path(path_type=Path), help="Write the mesh file there.")
@click.option("--force", is_flag=True, help="Replace that file where it exists.")
@click.option(
    "--profile", "profiles", metavar="NAME", multiple=True, help="Import services of this profile too; `*`: all."
)
@click.option(
    "--env-file", metavar="FILE", type=click.Path(path_type=Path), help="Variables, instead of `.env` beside the file."
)
@click.option("--strict", is_flag=True, help="Exit 1 where anything was lost, changed, or is left to decide.")
@json_option
def import_(
    path: Path,
    output: Path | None,
    force: bool,
    profiles: tuple[str, ...],
    env_file: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Turn a compose file into a mesh file.

    The mesh file goes to stdout, or to --output; on stderr stands what was not carried over or says something else now,
    each with file and line, why, and what to do. Nothing is dropped silently, and nothing is started or fetched. Who may
    call whom is proposed from `depends_on` and `ports`, and marked as a proposal.
    """
    from tulle.manifest.compose import convert

    file = _found(path)
    if output is not None and not force and os.path.lexists(output):
        raise Failure("exists", f"{output} exists", hint="`--force` replaces it", exit=Exit.USAGE)
    around = _surroundings(file, output, profiles, env_file)
    made = convert(str(file), _text(file), around)
    if isinstance(made, list):
        _refuse(made, as_json=as_json)
    made = _with_override(made, file)
    _give(made, output, as_json=as_json)
    if not as_json:
        _say_notes(made, file, output)
    _judge(made, output, file)
    if strict and not made.is_whole:
        raise Ended(Exit.REFUSED)


def _found(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next((path / name for name in COMPOSE_NAMES if (path / name).exists()), None)
    if found is None:
        raise Failure("unreadable", f"no {', '.join(COMPOSE_NAMES)} in {path}", exit=Exit.PROBLEMS)
    return found


def _with_override(made: "Imported", file: Path) -> "Imported":
    """Compose reads another file beside the usual ones, without being asked."""
    from dataclasses import replace

    from tulle.manifest.compose import Fate, Note

    beside = file.with_name(f"{file.stem}.override{file.suffix}")
    if file.name not in COMPOSE_NAMES or not beside.exists():
        return made
    instead = "`docker compose config` writes both into one: import that"
    note = Note(Fate.LOST, beside.name, "Compose merges it in; one file is imported at a time", instead)
    return replace(made, notes=(note, *made.notes))


def _text(file: Path) -> str:
    from tulle.manifest.tree import MAX_BYTES

    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1).decode()
    except OSError as error:
        raise Failure("unreadable", f"cannot read {file}: {error.strerror}", exit=Exit.PROBLEMS) from error
    except UnicodeDecodeError as error:
        raise Failure("bad-yaml", f"{file}: not UTF-8 at octet {error.start}", exit=Exit.PROBLEMS) from error


def _surroundings(file: Path, output: Path | None, profiles: tuple[str, ...], env_file: Path | None) -> "Surroundings":
    from tulle.manifest.compose import Surroundings
    from tulle.manifest.compose.dotenv import read_env
    from tulle.manifest.compose.interpolate import BadText
    from tulle.manifest.compose.surroundings import reader_beside

    home = Path(os.path.abspath(file.parent))  # noqa: PTH100  (links stay: they are how people name their directories)
    read = reader_beside(home)
    text = read(str(env_file.absolute()) if env_file else ".env")
    if text is None and env_file is not None:
        raise Failure("unreadable", f"cannot read {env_file}", exit=Exit.PROBLEMS)
    try:
        found = read_env(text or "", os.environ)
    except BadText as fault:
        raise Failure(
            "bad-value", f"{env_file or home / '.env'}, {fault}", hint=fault.hint, exit=Exit.PROBLEMS
        ) from fault
    variables = {**{name: value for name, value in found.items() if value is not None}, **os.environ}
    is_beside = output is None or output.absolute().parent.resolve() == home.resolve()
    return Surroundings(
        project=home.name or "compose",
        variables=variables,
        profiles=frozenset(profiles)
        | frozenset(one for one in variables.get("COMPOSE_PROFILES", "").split(",") if one),
        read=read,
        elsewhere="" if is_beside else str(home),
    )


def _give(made: "Imported", output: Path | None, *, as_json: bool) -> None:
    if as_json:
        notes = [
            {"fate": str(one.fate), "what": one.what, "why": one.why, "hint": one.instead, "file": one.place.file, "line": one.place.line}
            for one in made.notes
        ]  # fmt: skip
        show_json({"mesh": made.text, "notes": notes})
    if output is not None:
        _write(output, made.text, is_private=made.holds_secrets)
    elif not as_json:
        show(made.text.rstrip("\n"))


def _write(output: Path, text: str, *, is_private: bool) -> None:
    from tulle.kit.files import write_whole

    umask = os.umask(0o077)
    os.umask(umask)
    try:
        write_whole(output, text, 0o600 if is_private else 0o666 & ~umask)
    except OSError as error:
        raise Failure("unwritable", f"cannot write {output}: {error.strerror}") from error


def _say_notes(made: "Imported", file: Path, output: Path | None) -> None:
    from tulle.manifest.compose import Fate

    for one in made.notes:
        first, _, rest = str(one).partition("\n")
        fate, _, what = first.partition(": ")
        say(f"{yellow(fate)}: {what}\n{rest}\n")
    fates = [one.fate for one in made.notes]
    told = ", ".join(f"{fates.count(one)} {one}" for one in Fate if one in fates) or "all of it was carried over"
    say(f"{file}: {told}" + (f"; wrote {output}" if output else ""))


def _judge(made: "Imported", output: Path | None, file: Path) -> None:
    """What the mesh file itself would be refused for."""
    from tulle.agent.faults import fault_of
    from tulle.compiler import Compiled, Facts, compile_mesh, sure_faults
    from tulle.manifest import Loaded, parse

    name = str(output or "mesh.yaml")
    read = parse({name: made.text}, sure_faults)
    home = str((output or file).absolute().parent)
    compiled = compile_mesh(read.resources, Facts(generation=1, base_dir=home)) if isinstance(read, Loaded) else read
    if not isinstance(compiled, Compiled):
        say("the mesh file needs a hand before it validates:")
        say_faults(map(fault_of, compiled))
        raise Ended(Exit.PROBLEMS)


def _refuse(problems: "list[Problem]", *, as_json: bool) -> NoReturn:
    from tulle.cli.manifests import refuse

    refuse(problems, as_json=as_json)
