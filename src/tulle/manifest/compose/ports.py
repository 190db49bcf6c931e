"""`ports` and `expose` → where a service listens, and the door of the box that leads there."""

import re
from dataclasses import dataclass

from tulle.manifest.compose.ledger import Fate, Ledger
from tulle.manifest.compose.values import mapping, members, word
from tulle.manifest.tree import Fields, Node
from tulle.model.resources import AppProtocol

_SHORT = re.compile(
    r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z_.-]+(?=:[\d-]*:)|[0-9A-Fa-f]*(?::[0-9A-Fa-f]*){2,}(?=:[\d-]*:)):)?"
    r"(?:(?P<published>\d{1,5}(?:-\d{1,5})?)?:)?(?P<target>\d{1,5}(?:-\d{1,5})?)(?:/(?P<protocol>\w+))?"
)
_EVERYWHERE = frozenset({"", "0.0.0.0", "::", "[::]", "*"})  # noqa: S104  (compared, not listened on)
LISTENER = 15001
"""The mesh's own port in every pod."""
_SPOKEN = {"http": AppProtocol.HTTP, "http2": AppProtocol.HTTP2, "h2c": AppProtocol.HTTP2, "grpc": AppProtocol.GRPC, "tcp": AppProtocol.TCP}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Published:
    """One port of a container, and one of the box if it leads there."""

    target: int
    published: int | None
    host: str
    """The address of the box that it is bound to; empty for all."""
    where: str
    node: Node
    spoken: AppProtocol | None = None

    @property
    def is_everywhere(self) -> bool:
        """Whether the whole outside reaches it."""
        return self.host in _EVERYWHERE


def read_ports(ledger: Ledger, where: str, node: Node) -> list[Published]:
    """Every TCP port of `ports`; what else it holds is noted."""
    found: list[Published] = []
    for path, one in members(ledger, where, node):
        made = _long(ledger, path, one) if isinstance(one, Fields) else _short(ledger, path, one, True)
        found.extend([made] if made else [])
    return found


def read_expose(ledger: Ledger, where: str, node: Node) -> list[Published]:
    """Every TCP port of `expose`: no door leads there."""
    found = [_short(ledger, path, one, False) for path, one in members(ledger, where, node)]
    return [one for one in found if one is not None]


def _short(ledger: Ledger, where: str, node: Node, is_door: bool) -> Published | None:
    text = word(ledger, where, node)
    if text is None:
        ledger.fault(node, "wrong-type", f"`{where}` must be a port")
        return None
    found = _SHORT.fullmatch(text)
    if found is None:
        ledger.fault(
            node, "bad-value", f"`{where}` is no port: write `8080:80`", "the box's port, then the container's"
        )
        return None
    host = (found["host"] or "").strip("[]")
    return _port(ledger, where, node, found["target"], found["published"], host, found["protocol"], None, is_door)


def _long(ledger: Ledger, where: str, node: Fields) -> Published | None:
    given = mapping(ledger, where, node)
    texts = {name: word(ledger, f"{where}.{name}", one) or "" for name, one in given.items() if name in _LONG}
    target, published = texts.get("target", ""), texts.get("published", "")
    if not re.fullmatch(r"\d{1,5}", target) or not re.fullmatch(r"(\d{1,5}(-\d{1,5})?)?", published):
        ledger.fault(node, "bad-value", f"`{where}` needs `target`, a port, and `published`, a port, if any")
        return None
    spoken = _SPOKEN.get(texts.get("app_protocol", "").lower())
    mode = texts.get("mode", "")
    for name, one in given.items():
        path = f"{where}.{name}"
        if name == "name" or name not in _LONG:
            ledger.lose(path, one, "a port of the mesh file has no such field")
        elif name == "mode" and mode:
            ledger.lose(path, one, "there is one box, so a port is of the box")
        elif name == "app_protocol" and spoken is None:
            ledger.lose(path, one, "the mesh speaks http, http2, grpc and tcp, and detects what is not said")
    host = texts.get("host_ip", "").strip("[]")
    return _port(ledger, where, node, target, published, host, texts.get("protocol", ""), spoken, True)


_LONG = frozenset({"target", "published", "host_ip", "protocol", "app_protocol", "mode", "name"})


def _port(
    ledger: Ledger,
    where: str,
    node: Node,
    target: str,
    published: str | None,
    host: str,
    protocol: str | None,
    spoken: AppProtocol | None,
    is_door: bool,
) -> Published | None:
    if protocol and protocol.lower() != "tcp":
        ledger.lose(where, node, f"the mesh carries TCP, not {protocol}", "run what needs it outside of the mesh")
        return None
    numbers = [int(one) for part in (target, published or "") for one in part.split("-") if one]
    if not all(0 < one < 65536 for one in numbers):
        ledger.fault(node, "bad-value", f"`{where}`: a port is a number from 1 to 65535")
        return None
    if "-" in target:
        ledger.lose(where, node, "a service of the mesh has one port, not a range", "write the one that is called")
        return None
    if numbers[0] == LISTENER:
        ledger.lose(where, node, f"port {LISTENER} in a pod is the mesh's own", "let the program listen elsewhere")
        return None
    door = int(published) if published and "-" not in published else None
    if is_door and door is None:
        why = "a door is one port, and this is a range" if published else "its port of the box was left to chance"
        ledger.note(Fate.DECIDE, where, node, f"{why}: none is opened", "choose one: `expose: PORT`")
    return Published(int(target), door, host, where, node, spoken)
