"""`secrets` and `configs` of a service that are files → mounts, read-only."""

import re

from tulle.manifest.compose.draft import Draft
from tulle.manifest.compose.ledger import Ledger
from tulle.manifest.compose.surroundings import Surroundings
from tulle.manifest.compose.values import mapping, members
from tulle.manifest.tree import Fields, Items, Node, Scalar


def mounted_files(
    ledger: Ledger, around: Surroundings, draft: Draft, kind: str, declared: dict[str, Node]
) -> list[tuple[str, str]]:
    """Secrets or configs (`kind`) that are files: what is declared and used, and the mount for each."""
    given = mapping(ledger, draft.where, draft.tree).get(kind)
    found: list[tuple[str, str]] = []
    for path, one in members(ledger, f"{draft.where}.{kind}", given) if given is not None else ():
        source, target = _asked(ledger, path, one, kind)
        what = declared.get(source)
        fields = {entry.key.text: entry.node for entry in what.entries} if isinstance(what, Fields) else {}
        file = fields.get("file")
        if what is None:
            ledger.fault(one, "missing-field", f"`{path}`: no `{source}` under `{kind}`")
        elif not isinstance(file, Scalar) or not target.startswith("/") or re.search(r"[:,]|(^|/)\.\.(/|$)", target):
            ledger.lose(path, one, f"a mesh mounts {kind} that are files, and makes none", "write a file, and mount it")
        elif re.search(r"[:,\0]", file.text) or not file.text:
            ledger.lose(
                path, one, "a mount of the mesh file holds no colon and no comma in its paths", "rename the file"
            )
        else:
            name = file.text if file.text.startswith(("/", ".")) else f"./{file.text}"
            elsewhere = around.elsewhere if not name.startswith("/") else ""
            found.append((source, f"{f'{elsewhere}/' if elsewhere else ''}{name}:{target}:ro"))
            ledger.settle(file)
            if isinstance(one, Scalar):
                ledger.change(path, one, f"`{file.text}` is mounted at {target}, readable to whom the file is")
            else:
                ledger.lose(path, one, f"`{file.text}` is mounted at {target}, readable to whom the file is")
    return found


def _asked(ledger: Ledger, where: str, node: Node, kind: str) -> tuple[str, str]:
    """What it is called, and where it appears."""
    if isinstance(node, Scalar):
        return node.text, f"/run/secrets/{node.text}" if kind == "secrets" else f"/{node.text}"
    if isinstance(node, Items):
        ledger.fault(node, "wrong-type", f"`{where}` must be text or a mapping")
        return "", ""
    texts = {one.key.text: one.node.text for one in node.entries if isinstance(one.node, Scalar)}
    source, target = texts.get("source", ""), texts.get("target") or texts.get("source", "")
    if kind == "secrets" and not target.startswith("/"):
        target = f"/run/secrets/{target}"
    return source, target if target.startswith("/") else f"/{target}"
