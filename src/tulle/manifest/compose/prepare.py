"""The text of a compose file → a tree of its own: aliases written out, variables replaced, `extends` resolved."""

from tulle.manifest.compose.interpolate import BadText, Interpolation
from tulle.manifest.compose.ledger import Fate, Ledger, Note, is_secret, leaves
from tulle.manifest.compose.surroundings import Budget, Surroundings
from tulle.manifest.tree import Entry, Fields, Items, Node, Scalar, read_trees
from tulle.model.place import Place, Problem, nearest

MAX_DEPTH = 48
"""Of nesting, aliases written out."""
MAX_SERVICES = 1000
"""In one file: a mesh is one box."""
MAX_EXTENDED = 32
"""Services that extend each the next."""
MAX_TEXT = 8 * 1024 * 1024
"""Letters of all values together, once variables are replaced."""
_REPLACED = frozenset({"command", "entrypoint"})
"""Fields of a service that `extends` does not append to."""
_PAIRED = frozenset({"environment", "labels", "annotations", "args", "sysctls", "extra_hosts"})
"""Lists of `NAME=value` that merge as mappings do."""


class Prepared:
    """A tree in which every value is there once, and which of them were one in the file."""

    def __init__(self, file: str, text: str, around: Surroundings, ledger: Ledger) -> None:
        self._file = file
        self._ledger = ledger
        self._replacing = Interpolation(around.variables)
        self._variables = around.variables
        self._copied = Budget(500_000)
        """Values that `extends` may write out."""
        self._places: dict[str, Place] = {}
        self._size = 0
        self._copies: dict[int, list[Node]] = {}
        """Identity of a leaf in the file, and of what it became → what it became, once for each alias."""
        self._origins: list[Node] = []
        """Kept, so that their identities stay theirs."""
        self.tree = self._read(text)

    def _read(self, text: str) -> Fields | None:
        trees = list(read_trees(self._file, text, self._ledger.problems))
        if self._ledger.problems:
            return None
        if len(trees) != 1 or not isinstance(trees[0], Fields):
            line = trees[1].place.line if len(trees) > 1 else 1
            said = "a compose file is one mapping" if trees else "nothing is declared here"
            hint = "it begins with `services:`"
            self._ledger.problems.append(Problem("wrong-type", said, self._file, line, hint))
            return None
        made = self._own(trees[0], 0)
        self._say_variables()
        return made if isinstance(made, Fields) and not self._ledger.problems else None

    def _own(self, node: Node, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._ledger.fault(
                Items([], node.place), "too-large", f"nested deeper than {MAX_DEPTH}, aliases written out"
            )
            return Items([], node.place)
        made: Node
        if isinstance(node, Scalar):
            made = self._replaced(node)
        elif isinstance(node, Items):
            made = Items([self._own(one, depth + 1) for one in node.nodes], node.place)
        else:
            made = Fields([Entry(one.key, self._own(one.node, depth + 1)) for one in node.entries], node.place)
        if isinstance(node, Scalar) or not (node.nodes if isinstance(node, Items) else node.entries):
            self._origins.append(node)
            copies = self._copies.setdefault(id(node), [])
            copies.append(made)
            self._copies[id(made)] = copies
        return made

    def _replaced(self, node: Scalar) -> Scalar:
        if self._size > MAX_TEXT:
            return Scalar("", True, node.place)
        text = node.text
        try:
            text = self._replacing.text(node.text)
        except BadText as fault:
            self._ledger.fault(node, "bad-value", f"a variable cannot be replaced: {fault}", fault.hint)
        if "$" in node.text:
            for name in self._replacing.used | self._replacing.defaulted | self._replacing.unset:
                self._places.setdefault(name, node.place)
        self._size += len(text)
        if self._size > MAX_TEXT:
            self._ledger.fault(node, "too-large", "its variables make it too large")
        return Scalar(text, node.plain and text == node.text, node.place)

    def _say_variables(self) -> None:
        for name, place in self._places.items():
            if name in self._replacing.used:
                value = "…" if is_secret(name, self._variables.get(name, "")) else self._variables.get(name, "")
                fate, why = Fate.CHANGED, f"a mesh file has no variables: `{value[:64]}` is written for it"
            elif name in self._replacing.defaulted:
                fate, why = Fate.CHANGED, "a mesh file has no variables, and it is not set: its default is written"
            else:
                fate, why = Fate.DECIDE, "it is not set, and has no default: nothing is written for it"
            instead = f"set {name}, here or in .env, and import again" if fate is Fate.DECIDE else ""
            self._ledger.notes.append(Note(fate, f"${{{name}}}", why, instead, place))

    def settle_aliases(self, node: Node) -> None:
        """What an alias brought elsewhere, and was settled there, is settled here."""
        for one in leaves(node):
            if any(self._ledger.is_settled(other) for other in self._copies.get(id(one), ()) if other is not one):
                self._ledger.settle(one)

    def extended(self, services: Fields) -> dict[str, Fields]:
        """Services with what they extend merged in; what cannot be is noted."""
        by_name = {one.key.text: one.node for one in services.entries if isinstance(one.node, Fields)}
        if len(by_name) > MAX_SERVICES:
            self._ledger.fault(services, "too-large", f"more than {MAX_SERVICES} services")
            return {}
        return {name: self._extend(name, by_name, ()) for name in by_name}

    def _extend(self, name: str, services: dict[str, Fields], above: tuple[str, ...]) -> Fields:
        own = services[name]
        said = next((one for one in own.entries if one.key.text == "extends"), None)
        if said is None:
            return own
        where = f"services.{name}.extends"
        given = {one.key.text: one.node for one in said.node.entries} if isinstance(said.node, Fields) else {}
        service = given.get("service", said.node)
        first = not above
        if "file" in given:
            if first:
                hint = "`docker compose config` writes it out: import that"
                self._ledger.lose(where, said.node, "one file is imported at a time", hint)
            return own
        base = service.text if isinstance(service, Scalar) else ""
        if base not in services:
            self._ledger.fault(said.node, "unknown-service", f"`{where}`: no service `{base}`", nearest(base, services))
            return own
        if base in above or base == name:
            self._ledger.fault(said.node, "dependency-cycle", f"`{where}`: services extend each other")
            return own
        if len(above) > MAX_EXTENDED or not self._copied.take(sum(1 for _ in leaves(services[base]))):
            self._ledger.fault(said.node, "too-large", f"`{where}`: what services extend makes them too large")
            return own
        if first:
            self._ledger.change(where, said.node, f"a mesh file extends nothing: `{base}` is written out")
        else:
            self._ledger.settle(said.node)
        inherited = self._extend(base, services, (*above, name))
        kept = [Entry(one.key, _copied(one.node)) for one in inherited.entries if one.key.text != "extends"]
        return self._merged(Fields(kept, own.place), own, is_service=True)

    def _merged(self, base: Fields, own: Fields, *, is_service: bool = False) -> Fields:
        made = {one.key.text: one for one in base.entries}
        for one in own.entries:
            before, name = made.get(one.key.text), one.key.text
            if before is None or name in _REPLACED or (name == "test" and not is_service):
                made[name] = one
                continue
            old, new = before.node, one.node
            if name in _PAIRED:
                old, new = self._paired(old), self._paired(new)
            if isinstance(old, Fields) and isinstance(new, Fields):
                made[name] = Entry(one.key, self._merged(old, new))
            elif isinstance(old, Items) and isinstance(new, Items):
                texts = {held.text for held in new.nodes if isinstance(held, Scalar)}
                kept = [held for held in old.nodes if not (isinstance(held, Scalar) and held.text in texts)]
                made[name] = Entry(one.key, Items([*kept, *new.nodes], new.place))
            else:
                made[name] = Entry(one.key, new)
        return Fields(list(made.values()), own.place)

    def _paired(self, node: Node) -> Node:
        """A list of `NAME=value` as a mapping."""
        if not isinstance(node, Items) or not all(isinstance(one, Scalar) for one in node.nodes):
            return node
        entries: dict[str, Entry] = {}
        for one in node.nodes:
            assert isinstance(one, Scalar)  # noqa: S101  (asked for above)
            name, equals, value = one.text.partition("=")
            made = Scalar(value, not equals, one.place)
            self._copies[id(made)] = self._copies.setdefault(id(one), [one])
            self._copies[id(one)].append(made)
            entries[name] = Entry(Scalar(name, True, one.place), made)
        return Fields(list(entries.values()), node.place)


def _copied(node: Node) -> Node:
    if isinstance(node, Fields):
        return Fields([Entry(one.key, _copied(one.node)) for one in node.entries], node.place)
    if isinstance(node, Items):
        return Items([_copied(one) for one in node.nodes], node.place)
    return Scalar(node.text, node.plain, node.place)
