"""One service of a compose file → a draft of one service of a mesh file."""

import re
from collections.abc import Callable

from tulle.manifest.compose.draft import Dependency, Draft
from tulle.manifest.compose.environment import Environment
from tulle.manifest.compose.health import read_health
from tulle.manifest.compose.ledger import Fate, Ledger, shown
from tulle.manifest.compose.mounts import read_mounts
from tulle.manifest.compose.ports import read_expose, read_ports
from tulle.manifest.compose.surroundings import Budget, Surroundings
from tulle.manifest.compose.values import argv, brief, mapping, number, octets, seconds, word, words
from tulle.manifest.compose.without import DEPLOY, OTHERS, SERVICE, UNKNOWN
from tulle.manifest.tree import Fields, Node, Scalar

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_FETCHED = {"always": "missing", "missing": "missing", "if_not_present": "missing", "never": "never"}
_WAITED = frozenset({"", "service_started", "service_healthy"})


class ServiceReader:
    """Reads services; what they share is given once."""

    def __init__(self, ledger: Ledger, around: Surroundings, project: str) -> None:
        self._ledger = ledger
        self._around = around
        self._project = project
        self._files = Budget()
        self.volumes: set[str] = set()
        """Named volumes that some service mounts."""
        self._fields: dict[str, Callable[[str, Node, Draft], None]] = {
            "image": self._image,
            "pull_policy": self._pull_policy,
            "command": self._command,
            "entrypoint": self._entrypoint,
            "user": self._user,
            "working_dir": self._working_dir,
            "ports": self._ports,
            "expose": self._expose,
            "volumes": self._volumes,
            "healthcheck": self._healthcheck,
            "depends_on": self._depends_on,
            "links": self._links,
            "network_mode": self._network_mode,
            "mem_limit": self._memory,
            "cpus": self._cpus,
            "deploy": self._deploy,
            "scale": self._scale,
            "restart": self._restart,
            "stop_grace_period": self._stop_grace_period,
            "stop_signal": self._stop_signal,
        }

    def read(self, draft: Draft) -> None:
        """Fills the draft; every field is carried or noted."""
        ledger = self._ledger
        environment = Environment(ledger, self._around, draft, self._files)
        for entry in draft.tree.entries:
            name, where, node = entry.key.text, f"{draft.where}.{entry.key.text}", entry.node
            if name in self._fields:
                self._fields[name](where, node, draft)
            elif name == "environment":
                environment.own(where, node)
            elif name == "env_file":
                environment.files(where, node)
            elif name == "profiles":  # read before: this service is wanted
                ledger.change(where, node, "a mesh has no profiles: the service is part of it")
            elif name in {"extends", "secrets", "configs"}:
                continue
            elif name.startswith("x-"):
                ledger.lose(where, node, *OTHERS)
            elif name != "build":
                ledger.lose(where, node, *SERVICE.get(name, UNKNOWN))
        draft.env = environment.made()
        self._built(draft)

    def _built(self, draft: Draft) -> None:
        ledger = self._ledger
        build = mapping(ledger, draft.where, draft.tree).get("build")
        if build is not None:
            own = f"{self._project}-{draft.key.text}"
            name = draft.image or (own if _IMAGE.fullmatch(own) else draft.label)
            context = "."
            if isinstance(build, Scalar):
                context = build.text or "."
            elif isinstance(build, Fields):
                context = next((one.node.text for one in build.entries if one.key.text == "context" and isinstance(one.node, Scalar)), ".")  # fmt: skip
            why, _ = SERVICE["build"]
            draft.image_remark = "" if draft.image else "built by Compose under this name"
            draft.image, draft.is_built = name, True
            ledger.lose(f"{draft.where}.build", build, why, f"build it first: `podman build -t {name} {context}`")
        elif not draft.image and not ledger.problems:
            ledger.fault(draft.key, "missing-field", f"service `{draft.key.text}` has neither `image` nor `build`")

    def _image(self, where: str, node: Node, draft: Draft) -> None:
        text = word(self._ledger, where, node) or ""
        if not _IMAGE.fullmatch(text):
            if isinstance(node, Scalar):
                self._ledger.fault(node, "bad-value", f"`{where}` must be the name of an image")
            return
        draft.image = text
        self._ledger.settle(node)

    def _pull_policy(self, where: str, node: Node, draft: Draft) -> None:
        text = word(self._ledger, where, node) or ""
        draft.pull = _FETCHED.get(text, "")
        if text == draft.pull:
            self._ledger.settle(node)
        elif draft.pull:
            self._ledger.change(where, node, "a mesh fetches an image only when it is not on the box: `pull: missing`")
        else:
            self._ledger.lose(
                where, node, "a mesh fetches no image, or the missing ones", "write `pull: missing`, or fetch it"
            )

    def _command(self, where: str, node: Node, draft: Draft) -> None:
        split = argv(self._ledger, where, node)
        if split is None or self._ledger.is_settled(node):
            self._nothing(where, node)
        elif not any(split[:1]):
            self._ledger.lose(
                where, node, "a mesh cannot start an image without the words that it brings", "change the image"
            )
        else:
            draft.command = node.text if isinstance(node, Scalar) else split
            self._ledger.settle(node)

    def _entrypoint(self, where: str, node: Node, draft: Draft) -> None:
        if isinstance(node, Scalar) and node.is_null:
            self._nothing(where, node)
            return
        why = "a mesh starts an image by its own entrypoint"
        self._ledger.lose(where, node, why, "build an image with this one: `ENTRYPOINT` in a Dockerfile `FROM` it")
        draft.remarks.append("decide: its entrypoint is not carried over")

    def _user(self, where: str, node: Node, draft: Draft) -> None:
        draft.user = word(self._ledger, where, node) or ""
        self._said(where, node, draft.user)

    def _working_dir(self, where: str, node: Node, draft: Draft) -> None:
        why = "a container of a mesh works where its image says"
        self._ledger.lose(where, node, why, "say it in the image: `WORKDIR` in a Dockerfile `FROM` it")

    def _ports(self, where: str, node: Node, draft: Draft) -> None:
        draft.published = read_ports(self._ledger, where, node)

    def _expose(self, where: str, node: Node, draft: Draft) -> None:
        draft.exposed = read_expose(self._ledger, where, node)

    def _volumes(self, where: str, node: Node, draft: Draft) -> None:
        draft.mounts = read_mounts(self._ledger, where, node, self._around, self.volumes)

    def _healthcheck(self, where: str, node: Node, draft: Draft) -> None:
        draft.health = read_health(self._ledger, where, node)

    def _depends_on(self, where: str, node: Node, draft: Draft) -> None:
        if not isinstance(node, Fields):
            for path, one in words(self._ledger, where, node):
                draft.needs.append(Dependency(one.text, one, path))
            return
        for entry in node.entries:
            path = f"{where}.{entry.key.text}"
            given = mapping(self._ledger, path, entry.node)
            texts = {name: word(self._ledger, f"{path}.{name}", one) or "" for name, one in given.items()}
            condition = texts.get("condition", "")
            if condition == "service_completed_successfully":
                why = f"a mesh keeps services running, and waits for none to end; nothing waits for `{entry.key.text}`"
                self._ledger.note(Fate.LOST, path, entry.node, why, "run it once before the mesh, or within the image")
                continue
            if condition not in _WAITED:
                self._ledger.fault(entry.node, "bad-value", f"`{path}.condition` is none of Compose's")
                continue
            called = Scalar(entry.key.text, True, entry.key.place)
            draft.needs.append(Dependency(called.text, called, path, entry.node))

    def _links(self, where: str, node: Node, draft: Draft) -> None:
        for path, one in words(self._ledger, where, node):
            called, colon, alias = one.text.partition(":")
            draft.needs.append(Dependency(called, one, path))
            if colon and alias != called:
                why = f"a service answers to its own name: `{called}`, not `{alias}`"
                self._ledger.lose(path, one, why, f"call `{called}`")

    def _network_mode(self, where: str, node: Node, draft: Draft) -> None:
        text = word(self._ledger, where, node) or ""
        kind, _, called = text.partition(":")
        if kind == "service" and called:
            draft.needs.append(Dependency(called, Scalar(called, True, node.place), where))
        self._ledger.lose(where, node, *SERVICE["network_mode"])

    def _memory(self, where: str, node: Node, draft: Draft) -> None:
        size = octets(self._ledger, where, node)
        if not size:
            self._nothing(where, node)
            return
        unit, scale = next(
            (one for one in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)) if size % one[1] == 0), ("", 1)
        )
        told = f"{size // scale}{unit}"
        if draft.memory not in {"", told}:
            self._ledger.change(where, node, f"two limits of memory: {draft.memory} is written")
        elif len(str(size // scale)) > 15:
            self._ledger.lose(where, node, "no box has so much")
        else:
            draft.memory = told
            written = node.text if isinstance(node, Scalar) else ""
            draft.memory_remark = "" if told.lower().removesuffix("i") == written.lower() else written
            self._ledger.settle(node)

    def _cpus(self, where: str, node: Node, draft: Draft) -> None:
        wanted = number(self._ledger, where, node)
        if not wanted:
            self._nothing(where, node)
            return
        told = f"{brief(min(max(wanted, 0.01), 1024)):g}"
        if draft.cpus not in {"", told}:
            self._ledger.change(where, node, f"two limits of processors: {draft.cpus} is written")
        else:
            draft.cpus = told
            if float(told) != wanted:
                self._ledger.change(where, node, f"a mesh file takes 0.01 to 1024 processors: written as {told}")
            self._ledger.settle(node)

    def _deploy(self, where: str, node: Node, draft: Draft) -> None:
        for name, one in mapping(self._ledger, where, node).items():
            path = f"{where}.{name}"
            if name == "resources":
                self._resources(path, one, draft)
            elif name == "replicas":
                self._scale(path, one, draft)
            else:
                self._ledger.lose(path, one, *DEPLOY.get(name, UNKNOWN))

    def _resources(self, where: str, node: Node, draft: Draft) -> None:
        for name, one in mapping(self._ledger, where, node).items():
            limits = mapping(self._ledger, f"{where}.{name}", one) if name == "limits" else {}
            if "memory" in limits:
                self._memory(f"{where}.limits.memory", limits["memory"], draft)
            if "cpus" in limits:
                self._cpus(f"{where}.limits.cpus", limits["cpus"], draft)
            self._ledger.lose(f"{where}.{name}", one, "cgroups of a mesh limit memory and cpus, and reserve nothing")

    def _scale(self, where: str, node: Node, draft: Draft) -> None:
        if number(self._ledger, where, node) == 1:
            self._ledger.settle(node)
            draft.remarks.append("replicas: 1 is what a mesh runs")
        elif not self._ledger.is_settled(node):
            self._ledger.lose(where, node, *DEPLOY["replicas"])

    def _restart(self, where: str, node: Node, draft: Draft) -> None:
        text = word(self._ledger, where, node) or ""
        if text in {"always", "unless-stopped"}:
            self._ledger.settle(node)
            draft.remarks.append(f"restart: {text} is what a mesh does")
        else:
            self._ledger.change(where, node, "a mesh starts again whatever ends, at growing intervals")

    def _stop_grace_period(self, where: str, node: Node, draft: Draft) -> None:
        wanted = seconds(self._ledger, where, node)
        if wanted is None:
            self._nothing(where, node)
            return
        draft.stop_seconds = brief(min(wanted, 3600))
        if wanted > 3600:
            self._ledger.change(where, node, "a mesh waits an hour at most")
        written = node.text if isinstance(node, Scalar) else ""
        draft.stop_remark = "" if written in {f"{draft.stop_seconds}s", str(draft.stop_seconds)} else written
        self._ledger.settle(node)

    def _stop_signal(self, where: str, node: Node, draft: Draft) -> None:
        if (word(self._ledger, where, node) or "").upper() in {"SIGTERM", "TERM", "15"}:
            self._ledger.settle(node)
            draft.remarks.append(f"stop_signal: {shown(node)} is what a mesh sends")
        else:
            self._ledger.lose(where, node, "a mesh stops what runs by SIGTERM", "let the program end by it")

    def _said(self, where: str, node: Node, text: str) -> None:
        """It is carried as it is; nothing said is nothing carried."""
        if text:
            self._ledger.settle(node)
        else:
            self._nothing(where, node)

    def _nothing(self, where: str, node: Node) -> None:
        if not self._ledger.is_settled(node):
            self._ledger.lose(where, node, "it says nothing")


def profiles(ledger: Ledger, draft: Draft) -> set[str]:
    """Without which the service is no part of the project; it is always when there are none."""
    given = mapping(ledger, draft.where, draft.tree).get("profiles")
    return {one.text for _, one in words(ledger, f"{draft.where}.profiles", given)} if given is not None else set()
