"""`tulle status` as it is mostly asked, of a mesh that answers: without all that the verb loads, in a third of its time.

Whatever is not plain is left to the verb, which says it all: other options, no mesh or several, an agent that is silent or of
another version, a port that some other program has.
"""

import _socket  # what `socket` wraps in enums and selectors: a sixth of the time of the command
import json
import os

import tulle
from tulle.cli.status_words import show_status
from tulle.cli.supervisors import supervisors
from tulle.cli.words import Exit
from tulle.kit import places

TYPE_CHECKING = False  # as in `tulle.cli.status_words`
if TYPE_CHECKING:
    from typing import Any

_ASKED = b"GET /status HTTP/1.1\r\nhost: tulle\r\nconnection: close\r\n\r\n"
_SECONDS = 10.0


class Document(dict[str, object]):
    """A mapping as JSON has it, read like the document of `tulle.wire.status` that it was."""

    def __getattr__(self, name: str) -> object:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def glance(words: list[str]) -> int | None:
    """Shows how the node is; the exit code. None where the verb has to look: then nothing has been said."""
    mesh = _mesh(words)
    found = _asked(mesh) if mesh else None
    if found is None or not _is_plain(found):
        return None
    show_status(found)
    return Exit.OK if found.ready else Exit.REFUSED


def _mesh(words: list[str]) -> str:
    """The mesh that is meant and runs; empty where the command line says more, or no mesh or several."""
    named = os.environ.get("TULLE_MESH", "")
    if len(words) == 2 and words[0] in ("--mesh", "-m"):
        named = words[1]
    elif words:
        return ""
    running = supervisors()
    if named:
        return named if named in running else ""
    return next(iter(running)) if len(running) == 1 else ""


def _asked(mesh: str) -> "Any":
    """What the agent answers at once; None where it does not, or not with a whole status."""
    answer = b""
    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        agent.settimeout(_SECONDS)
        agent.connect(f"{places.runtime_dir(mesh, create=False)}/agent.sock")
        agent.sendall(_ASKED)
        while piece := agent.recv(65_536):
            answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        is_whole = b"\r\ncontent-length: %d\r\n" % len(body) in head.lower() + b"\r\n"
        is_good = head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 "))
        return json.loads(body, object_hook=Document) if is_good and is_whole else None
    except (OSError, ValueError):
        return None
    finally:
        agent.close()


def _is_plain(found: "Any") -> bool:
    """Said by an agent of this version, and nobody's place is taken: who has it, the verb looks up."""
    if getattr(found, "version", "") != tulle.__version__:
        return False
    is_taken = any(one.state == "taken" for one in (*found.doors, *found.closed_addresses))
    return not is_taken and not any(one.squatted for one in found.attached)
