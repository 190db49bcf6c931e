"""What each compose file of tests/fixtures/compose becomes: a mesh file, and its notes."""

from pathlib import Path

from tulle.manifest.compose import Imported, Surroundings, convert
from tulle.manifest.compose.dotenv import read_env
from tulle.manifest.compose.surroundings import reader_beside

HOME = Path(__file__).resolve().parent.parent / "tests/fixtures/compose"
CORPUS = sorted(HOME.glob("*.yaml"))


def surroundings() -> Surroundings:
    """The same on every machine."""
    found = read_env((HOME / "variables.env").read_text(), {})
    variables = {name: value for name, value in found.items() if value is not None}
    return Surroundings("corpus", {**variables, "HOME": "/home/somebody"}, read=reader_beside(HOME))


def imported(compose: Path) -> Imported:
    """Raises ValueError with its problems."""
    made = convert(compose.name, compose.read_text(), surroundings())
    if isinstance(made, list):
        raise ValueError("\n".join(map(str, made)))  # noqa: TRY004  (the file is at fault, not a type)
    return made


def mesh_file(compose: Path) -> str:
    """What goes to stdout."""
    return imported(compose).text


def notes(compose: Path) -> str:
    """What goes to stderr."""
    return "\n\n".join(map(str, imported(compose).notes)) + "\n"
