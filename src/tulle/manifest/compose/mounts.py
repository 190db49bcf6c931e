"""`volumes` of a service → mounts: a path of the box or a named volume, where it appears, and whether it may be written."""

import posixpath
import re

from tulle.manifest.compose.ledger import Fate, Ledger
from tulle.manifest.compose.surroundings import Surroundings
from tulle.manifest.compose.values import mapping, members, truth, word
from tulle.manifest.tree import Fields, Node, Scalar

_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_KEPT = frozenset({"rw", "ro"})
_ANONYMOUS = "the mesh has no volumes without a name"
_NAME_IT = "name a volume, or a directory of the box"


def read_mounts(ledger: Ledger, where: str, node: Node, around: Surroundings, named: set[str]) -> list[str]:
    """Each as the mesh file writes it; adds to `named` the named volumes."""
    found: list[str] = []
    for path, one in members(ledger, where, node):
        made = _long(ledger, path, one, around, named) if isinstance(one, Fields) else None
        if isinstance(one, Scalar) and not one.is_null:
            made = _short(ledger, path, one, around, named)
        elif not isinstance(one, Fields):
            ledger.fault(one, "wrong-type", f"`{path}` must be a volume")
        if made:
            ledger.settle(one)
            found.append(made)
    return found


def _short(ledger: Ledger, where: str, node: Scalar, around: Surroundings, named: set[str]) -> str | None:
    parts = node.text.split(":")
    if len(parts) == 1:
        ledger.lose(where, node, _ANONYMOUS, _NAME_IT)
        return None
    if len(parts) > 3 or not parts[0] or not parts[1].startswith("/"):
        ledger.fault(node, "bad-value", f"`{where}` is no volume: write `source:/path` or `source:/path:ro`")
        return None
    modes = [one for one in parts[2].split(",") if one] if len(parts) == 3 else []
    if other := [one for one in modes if one not in _KEPT]:
        told = f"the mount is carried without `{','.join(other)}`: a mesh knows `ro` and `rw`"
        ledger.change(where, node, told)
    return _mount(ledger, where, node, parts[0], parts[1], "ro" in modes, around, named)


def _long(ledger: Ledger, where: str, node: Fields, around: Surroundings, named: set[str]) -> str | None:
    given = mapping(ledger, where, node)
    texts = {
        name: word(ledger, f"{where}.{name}", one) or ""
        for name, one in given.items()
        if name in {"type", "source", "target"}
    }
    kind, source, target = texts.get("type", "volume"), texts.get("source", ""), texts.get("target", "")
    if kind not in {"bind", "volume"}:
        instead = "a pod has its own /tmp and /run" if kind == "tmpfs" else "mount a directory of the box"
        ledger.lose(where, node, f"the mesh mounts directories and named volumes, not `{kind}`", instead)
        return None
    if not target.startswith("/"):
        ledger.fault(node, "bad-value", f"`{where}` needs `target`, a path from the root")
        return None
    if not source:
        ledger.lose(where, node, _ANONYMOUS, _NAME_IT)
        return None
    is_fixed = "read_only" in given and truth(ledger, f"{where}.read_only", given["read_only"])
    for name, one in given.items():
        if name not in {"type", "source", "target", "read_only"}:
            ledger.lose(f"{where}.{name}", one, "a mount of the mesh file is a source, a path, and `ro`")
    if kind == "bind" and not source.startswith((".", "/", "~")):
        source = f"./{source}"
    return _mount(ledger, where, node, source, target, is_fixed, around, named)


def _mount(
    ledger: Ledger,
    where: str,
    node: Node,
    source: str,
    target: str,
    is_fixed: bool,
    around: Surroundings,
    named: set[str],
) -> str | None:
    if ":" in source or ":" in target or "\0" in source + target:
        ledger.lose(where, node, "a mount of the mesh file holds no colon in its paths", "rename the directory")
        return None
    if target == "/" or ".." in target.split("/"):
        ledger.lose(where, node, "a mount cannot cover the image's root", "mount a directory below it")
        return None
    if source.startswith((".", "/", "~")):
        source = _path(ledger, where, node, source, around)
    elif _VOLUME.fullmatch(source):
        named.add(source)
    elif "/" in source:
        ledger.fault(
            node, "bad-value", f"`{where}`: `{source}` is neither a volume's name nor a path", f"write `./{source}`"
        )
        return None
    else:
        ledger.fault(node, "bad-value", f"`{where}`: `{source}` cannot be a volume's name")
        return None
    return f"{source}:{target}" + (":ro" if is_fixed else "")


def _path(ledger: Ledger, where: str, node: Node, source: str, around: Surroundings) -> str:
    if source == "~" or source.startswith("~/"):
        home = around.variables.get("HOME", "")
        if not home.startswith("/"):
            ledger.note(
                Fate.DECIDE, where, node, "`~` is somebody's home, and nobody says whose", "write the whole path"
            )
            return f"./{source}"
        ledger.change(where, node, f"`~` is {home} to whoever imports; the mesh file says that")
        return posixpath.normpath(home + source[1:])
    if source.startswith("/"):
        return source
    return posixpath.normpath(posixpath.join(around.elsewhere, source)) if around.elsewhere else source
