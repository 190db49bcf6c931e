"""The whole way: a compose file's text → a mesh file's, with notes; or what is wrong with it."""

from dataclasses import dataclass

from tulle.manifest.compose.draft import Draft
from tulle.manifest.compose.held import mounted_files
from tulle.manifest.compose.ledger import Fate, Ledger, Note
from tulle.manifest.compose.prepare import Prepared
from tulle.manifest.compose.relations import label_of, name_all, relate
from tulle.manifest.compose.service import ServiceReader, profiles
from tulle.manifest.compose.surroundings import Surroundings
from tulle.manifest.compose.values import mapping, word
from tulle.manifest.compose.without import OTHERS, TOP, UNKNOWN
from tulle.manifest.compose.write import write
from tulle.manifest.tree import Entry, Fields, Node, Scalar
from tulle.model.place import Place, Problem, in_order


@dataclass(frozen=True, slots=True)
class Imported:
    """A mesh file, and all that must be known of it."""

    text: str
    notes: tuple[Note, ...]
    """In the order of the compose file."""

    @property
    def holds_secrets(self) -> bool:
        """Whether it should be readable to few."""
        return any(one.fate is Fate.SECRET for one in self.notes)

    @property
    def is_whole(self) -> bool:
        """Nothing was lost, nothing changed, nothing is left to decide."""
        return not any(one.fate in {Fate.LOST, Fate.CHANGED, Fate.DECIDE} for one in self.notes)


def convert(file: str, text: str, around: Surroundings) -> Imported | list[Problem]:
    """The mesh file that says the same as far as one can. `file` is how problems and notes call it."""
    ledger = Ledger()
    prepared = Prepared(file, text, around, ledger)
    if prepared.tree and (mesh := _mesh_name(prepared.tree)):
        return [
            Problem.at(mesh.place, "unknown-field", "a mesh file, not a compose file", "`tulle up` starts it as it is")
        ]
    made = _Project(file, ledger, prepared, around, prepared.tree).written() if prepared.tree else ""
    if ledger.problems:
        return in_order(ledger.problems)
    notes = dict.fromkeys(sorted(ledger.notes, key=lambda one: one.place.line))
    return Imported(made, tuple(notes))


def _mesh_name(tree: Fields) -> Scalar | None:
    """How a mesh file begins: compose files have no such field."""
    return next((one.key for one in tree.entries if one.key.text == "mesh"), None)


class _Project:
    def __init__(self, file: str, ledger: Ledger, prepared: Prepared, around: Surroundings, tree: Fields) -> None:
        self._file = file
        self._ledger = ledger
        self._prepared = prepared
        self._around = around
        self._top = {one.key.text: one for one in tree.entries}
        self._absent: dict[str, str] = {}

    def written(self) -> str:
        name, remark = self._name()
        drafts = self._drafts()
        name_all(self._ledger, list(drafts.values()))
        reader = ServiceReader(self._ledger, self._around, self._project())
        declared = {
            kind: mapping(self._ledger, kind, self._top[kind].node) if kind in self._top else {}
            for kind in ("secrets", "configs")
        }
        used: dict[str, set[str]] = {kind: set() for kind in declared}
        for draft in drafts.values():
            reader.read(draft)
            for kind, known in declared.items():
                for source, mount in mounted_files(self._ledger, self._around, draft, kind, known):
                    used[kind].add(source)
                    draft.mounts.append(mount)
            self._once(draft)
        relate(self._ledger, drafts, self._absent)
        for draft in drafts.values():
            self._say_calls(draft)
        self._say_images(drafts)
        self._rest(reader.volumes)
        head = [
            f"Made by `tulle import {self._file}`. Read every line that says `proposed` or `decide`, then: tulle validate",
            *(["Relative paths begin at the compose file's directory: keep this file there."] if not self._around.elsewhere and _is_relative(drafts) else []),
        ]  # fmt: skip
        return write(name, remark, drafts.values(), head)

    def _project(self) -> str:
        said = self._top.get("name")
        text = (word(self._ledger, "name", said.node) if said else None) or self._around.variables.get(
            "COMPOSE_PROJECT_NAME"
        )
        return text or self._around.project

    def _name(self) -> tuple[str, str]:
        project = self._project()
        label = label_of(project, "mesh")
        said = self._top.get("name")
        if said is not None and label == project:
            self._ledger.settle(said.node)
        elif said is not None:
            self._ledger.change(
                "name", said.node, f"a mesh is called by lower-case letters, digits and dashes: `{label}`"
            )
        return label, "" if said else "proposed: the project's name"

    def _drafts(self) -> dict[str, Draft]:
        ledger, said = self._ledger, self._top.get("services")
        if said is None or not isinstance(said.node, Fields) or not said.node.entries:
            node: Node = said.node if said else Fields([], Place(self._file, 1))
            ledger.fault(node, "missing-field", "a compose file needs `services`, a mapping that names one at least")
            return {}
        for entry in said.node.entries:
            if not isinstance(entry.node, Fields):
                ledger.fault(entry.node, "wrong-type", f"`services.{entry.key.text}` must be a mapping")
        drafts: dict[str, Draft] = {}
        for name, tree in self._prepared.extended(said.node).items():
            key = next(one.key for one in said.node.entries if one.key.text == name)
            draft = Draft(key, f"services.{name}", tree)
            wanted = profiles(ledger, draft)
            if wanted and not wanted & self._around.profiles and "*" not in self._around.profiles:
                self._absent[name] = f"it is of profile {', '.join(sorted(wanted))}, which is not enabled"
                hint = f"import with `--profile {min(wanted)}` to have it"
                ledger.note(Fate.LOST, f"services.{name}", tree, self._absent[name], hint)
                original = next(one.node for one in said.node.entries if one.key.text == name)
                ledger.settle(original)
            else:
                drafts[name] = draft
        return drafts

    def _once(self, draft: Draft) -> None:
        """Of several mounts at one path the last counts, as in Compose."""
        at = {one.split(":")[1]: one for one in draft.mounts}
        for one in draft.mounts:
            if at[one.split(":")[1]] != one:
                node = Scalar(one, True, draft.key.place)
                self._ledger.note(Fate.LOST, f"{draft.where}.volumes", node, "another is mounted at the same path")
        draft.mounts = list(dict.fromkeys(one for one in draft.mounts if at[one.split(":")[1]] == one))

    def _say_calls(self, draft: Draft) -> None:
        place = draft.key.place
        if draft.callers and draft.port is None:
            why = f"{', '.join(draft.callers)} may call it, but nothing says where it listens"
            self._ledger.tell(Fate.DECIDE, draft.where, place, why, "add `port` and `allow`")
        elif draft.callers or draft.expose:
            origins = [*(["depends_on"] if draft.callers else []), *(["ports"] if draft.expose else [])]
            why = f"its `allow` is proposed from {' and '.join(origins)}"
            self._ledger.tell(Fate.PROPOSED, draft.where, place, why, "check who really calls: `mode: shadow` shows it")

    def _say_images(self, drafts: dict[str, Draft]) -> None:
        """Compose fetches what is missing unless it is told not to."""
        built = {one.image for one in drafts.values() if one.is_built}
        wanted = (one.image for one in drafts.values() if one.image and not one.pull)
        images = dict.fromkeys(one for one in wanted if one not in built and not one.startswith("localhost/"))
        if images:
            place = self._top["services"].key.place
            instead = f"`podman pull {' '.join(map(_whole_name, images))}`, or write `pull: missing`"
            self._ledger.tell(Fate.CHANGED, "images", place, "a mesh fetches none unless it is told to", instead)

    def _rest(self, volumes: set[str]) -> None:
        for name, entry in self._top.items():
            if name == "volumes":
                self._volumes(entry, volumes)
            elif name.startswith("x-"):
                self._prepared.settle_aliases(entry.node)
                self._ledger.lose(name, entry.node, *OTHERS)
            elif name not in {"services", "name"}:
                self._ledger.lose(name, entry.node, *TOP.get(name, UNKNOWN))
            elif name == "services":
                self._prepared.settle_aliases(entry.node)
                self._ledger.lose(name, entry.node, "it says nothing that counts here")

    def _volumes(self, entry: Entry, used: set[str]) -> None:
        for name, node in mapping(self._ledger, "volumes", entry.node).items():
            where = f"volumes.{name}"
            if name not in used:
                self._ledger.lose(where, node, "no service mounts it")
                continue
            why = f"the mesh's volume `{name}` is podman's, and begins empty"
            theirs = _field(node, "name") or f"{self._project()}_{name}"
            instead = f"copy what Compose's `{theirs}` holds, if it is needed"
            fate = Fate.LOST if isinstance(node, Fields) and node.entries else Fate.CHANGED
            self._ledger.note(fate, where, node, why, instead)
        self._ledger.settle(entry.node)


def _is_relative(drafts: dict[str, Draft]) -> bool:
    return any(one.startswith(".") for draft in drafts.values() for one in draft.mounts)


def _field(node: Node, name: str) -> str:
    held = {one.key.text: one.node for one in node.entries} if isinstance(node, Fields) else {}
    found = held.get(name)
    return found.text if isinstance(found, Scalar) else ""


def _whole_name(image: str) -> str:
    """An image with its registry, as podman wants it: to Compose, no registry is Docker's."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"
