"""`healthcheck` → readiness: what HTTP asks stays a question over HTTP, anything else becomes a connection."""

import re
import shlex
from dataclasses import dataclass, field

from tulle.manifest.compose.ledger import Fate, Ledger
from tulle.manifest.compose.values import brief, mapping, number, seconds, truth
from tulle.manifest.tree import Fields, Items, Node, Scalar
from tulle.model.checks import is_http_path

_URL = re.compile(r"(?:(https?)://)?(\[::1?\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?(/[^\s]*)?", re.IGNORECASE)
_HERE = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"})  # noqa: S104  (compared, not listened on)
_PLAIN_FLAGS = re.compile(
    r"--(?:fail|fail-with-body|silent|show-error|spider|quiet|no-verbose|location|tries=\d+|output-document=\S+)|-[fsSLqIk]+|-nv|-O-?|-qO-?|-o|-t"
)
_OPERAND_FLAGS = frozenset({"-o", "-O", "-qO", "--output", "--output-document", "--max-time", "-m", "--connect-timeout", "-T", "--timeout", "-t", "--tries", "--retry"})  # fmt: skip
_TAIL = re.compile(r"\s*(?:\|\|\s*(?:exit\s+\d+|false)|(?:>|1>|2>|&>)\s*/dev/null|2>&1|>&2)\s*;?\s*$")
_TIMES = {"interval": "period", "timeout": "timeout", "start_period": "startup"}
_LIMITS = {"period": (0.001, 3600.0), "timeout": (0.001, 3600.0), "startup": (0.0, 3600.0)}
_CONNECTS = re.compile(r"(?:^|\s|/)(?:nc|ncat|netcat)\s.*?(\d{1,5})\s*$|/dev/tcp/[^/\s]+/(\d{1,5})")


@dataclass(slots=True)
class Health:
    """What a healthcheck came to."""

    path: str | None = None
    port: int | None = None
    """The one that it asks; the service's own unless said."""
    times: dict[str, int | float] = field(default_factory=dict)
    """By the names that the mesh file gives them."""
    told: str = ""
    """Times in other words than the mesh file's, as they were written."""
    where: str = ""
    test: Node | None = None
    """What was asked by other means than HTTP, to be named beside what asks it now."""


def read_health(ledger: Ledger, where: str, node: Node) -> Health | None:
    """None where nothing is asked."""
    given = mapping(ledger, where, node)
    if "disable" in given and truth(ledger, f"{where}.disable", given["disable"]):
        ledger.change(where, node, "a mesh asks for a connection to its port anyway, where it has one")
        return None
    health = Health(where=f"{where}.test")
    for name, one in given.items():
        path = f"{where}.{name}"
        if name == "test":
            _test(ledger, path, one, health)
        elif name in _TIMES:
            _time(ledger, path, one, _TIMES[name], health)
        elif name == "retries":
            if (times := number(ledger, path, one)) is not None:
                health.times["failure_threshold"] = kept = int(min(max(times, 1), 1000))
                if kept != times:
                    ledger.change(path, one, f"the mesh file takes 1 to 1000: written as {kept}")
                ledger.settle(one)
        elif name == "disable":
            ledger.settle(one)
        elif name == "start_interval":
            ledger.lose(path, one, "until the first yes the mesh asks often by itself")
        else:
            ledger.lose(path, one, "no such field of a healthcheck is known")
    return health if health.test is not None or health.path or health.port or health.times else None


def _time(ledger: Ledger, where: str, node: Node, name: str, health: Health) -> None:
    value = seconds(ledger, where, node)
    if value is None or (value == 0 and name != "startup"):
        ledger.lose(where, node, "nothing and zero mean a default, and the mesh keeps its own")
        return
    low, high = _LIMITS[name]
    kept = min(max(value, low), high)
    health.times[name] = brief(kept)
    if kept != value:
        ledger.change(where, node, f"a mesh file counts seconds, {low:g} to {high:g}: `{name}: {brief(kept)}`")
    elif isinstance(node, Scalar) and node.text not in {f"{brief(kept)}s", str(brief(kept))}:
        health.told += f"{', ' if health.told else ''}{where.rpartition('.')[2]}: {node.text}"
    ledger.settle(node)


def _test(ledger: Ledger, where: str, node: Node, health: Health) -> None:
    if isinstance(node, Fields) or (isinstance(node, Items) and not all(isinstance(one, Scalar) for one in node.nodes)):
        ledger.fault(node, "wrong-type", f"`{where}` must be a text or a list of texts")
        return
    if isinstance(node, Scalar):
        command = "" if node.is_null else node.text
        argv = None
    else:
        said = [one.text for one in node.nodes if isinstance(one, Scalar)]
        if said[:1] == ["NONE"]:
            ledger.change(where, node, "a mesh asks for a connection to its port anyway, where it has one")
            return
        if said[:1] not in (["CMD"], ["CMD-SHELL"]):
            ledger.fault(node, "bad-value", f"`{where}` must begin with CMD, CMD-SHELL or NONE")
            return
        command = " ".join(said[1:])
        argv = said[1:] if said[0] == "CMD" else None
    if argv is None:
        while (shorter := _TAIL.sub("", command)) != command:
            command = shorter
        argv = _split(command)
    if argv and argv[0].rpartition("/")[2] in {"curl", "wget"} and _http(ledger, where, node, argv, health):
        return
    health.test = node
    if found := _CONNECTS.search(command):
        port = int(found[1] or found[2])
        health.port = port if 0 < port < 65536 else None


def _split(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    return [] if any(re.search(r"[|&;<>`]|\$\(", one) for one in words) else words


def _http(ledger: Ledger, where: str, node: Node, argv: list[str], health: Health) -> bool:
    """Whether it is a question that readiness can ask."""
    urls: list[str] = []
    others: list[str] = []
    skip = False
    for one in argv[1:]:
        if skip:
            skip = False
        elif one in _OPERAND_FLAGS:
            skip = True
        elif one.startswith("-"):
            others.extend([] if _PLAIN_FLAGS.fullmatch(one) else [one])
        else:
            urls.append(one)
    found = _URL.fullmatch(urls[0]) if len(urls) == 1 else None
    if found is None or others or found[2].lower() not in _HERE or (found[1] or "http").lower() != "http":
        return False
    path, _, rest = (found[4] or "/").partition("?")
    path, _, fragment = path.partition("#")
    port = int(found[3] or 80)
    if not is_http_path(path) or not 0 < port < 65536:
        return False
    health.path, health.port = path, port
    if rest or fragment:
        ledger.change(where, node, f"readiness asks for a path without query: `{path}`")
    if argv[0].rpartition("/")[2] == "curl" and not any(re.fullmatch(r"--fail\S*|-\w*f\w*", one) for one in argv):
        ledger.change(where, node, "curl without --fail takes any answer for a yes; readiness wants 200 to 399")
    ledger.settle(node)
    return True


def say_connection(ledger: Ledger, health: Health, port: int | None) -> None:
    """Says what a test that is not HTTP became, once it is known which port is the service's."""
    if health.test is None:
        return
    if health.port or port:
        told = f"readiness runs no program in the container: it asks for a connection to port {health.port or port}"
        ledger.note(Fate.CHANGED, health.where, health.test, told, "serve a health path over HTTP to be asked for more")
    else:
        ledger.lose(health.where, health.test, "readiness runs no program, and nothing says a port to connect to")
