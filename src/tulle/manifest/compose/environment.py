"""`environment` and `env_file` of a service → its variables, files written out."""

from tulle.manifest.compose.dotenv import read_env
from tulle.manifest.compose.draft import Draft
from tulle.manifest.compose.interpolate import BadText
from tulle.manifest.compose.ledger import Fate, Ledger, is_secret
from tulle.manifest.compose.surroundings import Budget, Surroundings
from tulle.manifest.compose.values import mapping, pairs, word
from tulle.manifest.tree import Fields, Items, Node, Scalar

_IN_CLEAR = "it looks like a secret, and stands in the mesh file in the clear"
_HIDE = "let the program read a file, and mount that; or `chmod 600` the mesh file"


class Environment:
    """Collects what one service's environment is made of: files first, in their order, then its own."""

    def __init__(self, ledger: Ledger, around: Surroundings, draft: Draft, budget: Budget) -> None:
        self._ledger = ledger
        self._budget = budget
        self._around = around
        self._draft = draft
        self._own: dict[str, str] = {}
        self._from_files: dict[str, str] = {}

    def made(self) -> dict[str, str]:
        """All of it."""
        return {**self._from_files, **self._own}

    def own(self, where: str, node: Node) -> None:
        """`environment`: a list or a mapping."""
        ledger = self._ledger
        if isinstance(node, Scalar):
            if not node.is_null:
                ledger.fault(node, "wrong-type", f"`{where}` must be a list or a mapping")
            ledger.lose(where, node, "it says nothing")
            return
        seen: dict[str, tuple[str, Node]] = {}
        for path, name, value, one in pairs(ledger, where, node):
            taken = value is None
            value = self._around.variables.get(name) if taken else value
            if not name or "\0" in name + (value or ""):
                ledger.fault(one, "bad-value", f"`{path}` is no variable: write `NAME=value`")
            elif value is None:
                why = f"the value of {name} is taken from around, where there is none"
                ledger.lose(path, one, why, f"set {name} before the import, or write it in the mesh file")
            else:
                if name in seen:
                    why = f"`{name}` is said again on line {one.place.line}"
                    ledger.note(Fate.LOST, seen[name][0], seen[name][1], why)
                seen[name] = path, one
                self._own[name] = value
                if is_secret(name, value):
                    ledger.note(Fate.SECRET, f"{self._draft.where}.environment.{name}", _veiled(one), _IN_CLEAR, _HIDE)
                elif taken:
                    ledger.change(path, one, f"the value of {name} was taken from around, and is written")
                ledger.settle(one)

    def files(self, where: str, node: Node) -> None:
        """`env_file`: a path, or a list of paths or mappings."""
        if isinstance(node, Items):
            for number, one in enumerate(node.nodes):
                self._file(f"{where}[{number}]", one)
        else:
            self._file(where, node)

    def _file(self, where: str, node: Node) -> None:
        ledger = self._ledger
        given = mapping(ledger, where, node) if isinstance(node, Fields) else {"path": node}
        texts = {name: word(ledger, f"{where}.{name}", one) or "" for name, one in given.items()}
        name, form = texts.get("path", ""), texts.get("format", "")
        if not name or form not in {"", "raw"}:
            ledger.fault(node, "bad-value", f"`{where}` must be the path of a file, its `format` nothing or `raw`")
            return
        text = self._around.read(name)
        if text is None and texts.get("required", "true") == "false":
            ledger.lose(where, node, f"there is no file `{name}`, and it is not required")
            return
        if text is None:
            ledger.fault(node, "unreadable", f"`{where}`: cannot read `{name}`", "it must be a plain file of UTF-8")
            return
        if not self._budget.take(len(text)):
            ledger.fault(node, "too-large", f"`{where}`: files of variables make it too large")
            return
        try:
            found = read_env(text, self._around.variables, raw=form == "raw")
        except BadText as fault:
            ledger.fault(node, "bad-value", f"`{where}`: {name}, {fault}", fault.hint)
            return
        values = {key: self._around.variables.get(key) if held is None else held for key, held in found.items()}
        kept = {key: held for key, held in values.items() if held is not None and "\0" not in held}
        self._from_files.update(kept)
        secret = [key for key, held in kept.items() if is_secret(key, held)]
        why = f"a mesh reads no file of variables: {', '.join(kept) or 'nothing'} of it stands in the mesh file"
        if missing := [key for key in values if key not in kept]:
            why += f"; {', '.join(missing)} is set nowhere and left out"
        ledger.change(where, node, why, "write changes in the mesh file from now on")
        for key in secret:
            ledger.note(Fate.SECRET, f"{where}: {key}", _veiled(node), _IN_CLEAR, _HIDE)


def _veiled(node: Node) -> Scalar:
    return Scalar("…", True, node.place)
