"""What services of a project are to each other: names, ports, who waits for whom, who may call whom."""

import re
from collections.abc import Iterable, Mapping

from tulle.manifest.compose.draft import Dependency, Draft
from tulle.manifest.compose.health import say_connection
from tulle.manifest.compose.ledger import Fate, Ledger, clean, shown
from tulle.manifest.compose.ports import LISTENER, Published
from tulle.manifest.tree import Fields, Node, Scalar
from tulle.model.names import is_label
from tulle.model.place import nearest

TCP_PORTS: dict[int, str] = {
    21: "FTP, whose server speaks first",
    22: "SSH, whose server speaks first",
    25: "SMTP, whose server speaks first",
    110: "POP3, whose server speaks first",
    143: "IMAP, whose server speaks first",
    587: "SMTP, whose server speaks first",
    1433: "SQL Server's, and not HTTP",
    1521: "Oracle's, and not HTTP",
    1883: "MQTT, and not HTTP",
    2181: "ZooKeeper's, and not HTTP",
    3306: "MySQL's, whose server speaks first",
    4222: "NATS, whose server speaks first",
    5432: "PostgreSQL's, and not HTTP",
    5672: "AMQP, and not HTTP",
    5900: "VNC, whose server speaks first",
    6379: "Redis's, and not HTTP",
    8883: "MQTT over TLS, and not HTTP",
    9042: "Cassandra's, and not HTTP",
    9092: "Kafka's, and not HTTP",
    11211: "Memcached's, and not HTTP",
    27017: "MongoDB's, and not HTTP",
}
"""Port → what usually listens there; `protocol: tcp` is proposed for it."""
SCHEMES: dict[str, int] = {
    "http": 80, "https": 443, "ws": 80, "wss": 443, "redis": 6379, "rediss": 6379, "postgres": 5432, "postgresql": 5432,
    "mysql": 3306, "mariadb": 3306, "mongodb": 27017, "amqp": 5672, "mqtt": 1883, "mqtts": 8883, "nats": 4222, "smtp": 25,
}  # fmt: skip
"""Scheme of a URL that says no port → the port it means."""
_DIALLED = re.compile(
    r"(?:([a-z][a-z0-9+.-]{0,20})://(?:[^/\s@]*@)?|^|[\s,=(@/])([A-Za-z0-9._-]+)(?::([0-9]{1,5})(?![0-9]))?(?=[/\s,)?;]|$)"
)
MAX_LABEL = 50
"""Of a name: what the mesh derives from it adds a suffix."""


def name_all(ledger: Ledger, drafts: Iterable[Draft]) -> None:
    """Gives each a label of its own; says where that is another name."""
    taken = {"localhost"} | {one.key.text for one in drafts if _fits(one.key.text)}
    for draft in drafts:
        written = draft.key.text
        draft.label = written if _fits(written) else _free(label_of(written, "service"), taken)
        taken.add(draft.label)
        if draft.label != written:
            why = "a name in a mesh is of lower-case letters, digits and dashes, is short, and is not localhost"
            instead = f"callers dial `{draft.label}`: the mesh answers to no other name"
            ledger.tell(
                Fate.CHANGED, f"services.{written}", draft.key.place, f"{why}: `{draft.label}` is written", instead
            )


def label_of(text: str, otherwise: str) -> str:
    """The nearest name that a mesh takes."""
    made = re.sub(r"[^a-z0-9]+", "-", text.lower())[:MAX_LABEL].strip("-")
    return made or otherwise


def _fits(text: str) -> bool:
    return is_label(text) and len(text) <= MAX_LABEL and text != "localhost"


def _free(wanted: str, taken: set[str]) -> str:
    numbered = (f"{wanted[: MAX_LABEL - 4]}-{number}" for number in range(2, 100_000))
    return wanted if wanted not in taken else next(one for one in numbered if one not in taken)


def relate(ledger: Ledger, drafts: Mapping[str, Draft], absent: Mapping[str, str]) -> None:
    """Decides ports and doors, then who waits for whom and who calls whom. `absent`: services left out, and why."""
    doors: dict[int, str] = {}
    dialled = _dialled(drafts)
    for draft in drafts.values():
        _listen(ledger, draft, dialled)
        _open(ledger, draft, doors)
        _health(ledger, draft)
    for draft in drafts.values():
        for need in draft.needs:
            other = drafts.get(need.called)
            if other is None:
                _missing(ledger, draft, need, {**drafts, **absent}, absent)
                continue
            ledger.settle(need.node)
            if need.said is not None:
                _condition(ledger, draft, need, need.said)
            if other is draft:
                ledger.fault(draft.key, "dependency-cycle", f"`{draft.key.text}` depends on itself")
            elif other.label not in draft.depends_on:
                draft.depends_on.append(other.label)
                other.callers.append(draft.label)
    _refuse_cycles(ledger, drafts)
    renamed = {one.key.text: one.label for one in drafts.values() if one.key.text != one.label}
    for draft in drafts.values():
        _say_names(ledger, draft, renamed)


def _missing(
    ledger: Ledger, draft: Draft, need: Dependency, known: Mapping[str, object], absent: Mapping[str, str]
) -> None:
    said = need.said or need.node
    if need.called in absent:
        instead = f"import with `--profile` if `{draft.key.text}` needs it"
        ledger.note(Fate.LOST, need.where, said, absent[need.called], instead)
    elif _fields(said).get("required") == "false":
        ledger.note(Fate.LOST, need.where, said, "no service of this name is there, and it is not required")
    else:
        hint = nearest(need.called, known) if len(ledger.problems) < 100 else ""
        ledger.fault(need.node, "unknown-service", f"`{need.where}`: no service `{need.called}`", hint)


def _condition(ledger: Ledger, draft: Draft, need: Dependency, said: Node) -> None:
    """What a mesh does of its own: it waits until what is depended on is ready."""
    fields = {one.key.text: one.node for one in said.entries} if isinstance(said, Fields) else {}
    for name, node in fields.items():
        if name == "condition":
            draft.remarks.append(f"waits until {need.called} is ready, as by {shown(node)}")
            ledger.settle(node)
        elif name == "required":
            ledger.change(f"{need.where}.{name}", node, "a mesh waits for all that `depends_on` names")
        elif name == "restart":
            ledger.lose(f"{need.where}.{name}", node, "a mesh starts what ended, and nothing else with it")
        else:
            ledger.lose(f"{need.where}.{name}", node, "no such field of a dependency is known")
    ledger.settle(said)


def _fields(node: Node) -> dict[str, str]:
    held = node.entries if isinstance(node, Fields) else []
    return {one.key.text: one.node.text for one in held if isinstance(one.node, Scalar)}


def _listen(ledger: Ledger, draft: Draft, dialled: Mapping[str, tuple[int, str]]) -> None:
    """Where it listens: what it publishes, exposes, asks of itself, or is called at."""
    ports = [*draft.published, *draft.exposed]
    chosen = next((one for one in draft.published if one.published), ports[0] if ports else None)
    if chosen is not None:
        draft.port = chosen.target
    elif draft.health is not None and draft.health.port:
        draft.port, draft.port_remark = draft.health.port, "proposed: its healthcheck asks there"
    elif draft.key.text in dialled:
        draft.port, draft.port_remark = dialled[draft.key.text]
    if chosen is not None:
        for one in ports:
            _keep(ledger, draft, one, chosen)
        if chosen.spoken:
            draft.protocol = chosen.spoken.value
    if not draft.protocol and draft.port in TCP_PORTS:
        draft.protocol, draft.protocol_remark = "tcp", f"proposed: port {draft.port} is {TCP_PORTS[draft.port]}"


def _keep(ledger: Ledger, draft: Draft, one: Published, chosen: Published) -> None:
    if one is chosen or (one.target == chosen.target and one.published is None):
        ledger.settle(one.node)
    elif not ledger.is_settled(one.node):
        why = f"a service of the mesh file has one port, {chosen.target}"
        if one.target == chosen.target:
            why = f"a service of the mesh file has one door, {chosen.published}"
        instead = "a Workload and a Service resource say several; see docs/reference/resources.md"
        ledger.note(Fate.LOST, one.where, one.node, why, instead)


def _open(ledger: Ledger, draft: Draft, doors: dict[int, str]) -> None:
    chosen = next((one for one in draft.published if one.published and one.target == draft.port), None)
    if chosen is None or chosen.published is None:
        return
    door = chosen.published
    if door in doors:
        ledger.note(Fate.LOST, chosen.where, chosen.node, f"`{doors[door]}` has door {door} already", "choose another")
    elif not chosen.is_everywhere:
        why = f"a door of the mesh is open on every address, and this was bound to {chosen.host}: it is left shut"
        ledger.note(Fate.LOST, chosen.where, chosen.node, why, f"write `expose: {door}` if all may knock; `allow` still decides")  # fmt: skip
        draft.closed = (
            f"expose: {door} # decide: Compose bound it to {clean(chosen.host)}, and a door is open on every address"
        )
    else:
        draft.expose = doors_port = door
        doors[doors_port] = draft.key.text


def _dialled(drafts: Mapping[str, Draft]) -> dict[str, tuple[int, str]]:
    """Service → the port at which a variable or command of another names it first, and where."""
    found: dict[str, tuple[int, str]] = {}
    for draft in drafts.values():
        spoken = [draft.command] if isinstance(draft.command, str) else draft.command or []
        for what, text in [*draft.env.items(), *(("command", one) for one in spoken)]:
            for match in _DIALLED.finditer(text):
                scheme, called, said = match.groups()
                port = int(said) if said else SCHEMES.get((scheme or "").partition("+")[0], 0)
                if called in drafts and called != draft.key.text and 0 < port < 65536 and port != LISTENER:
                    shown = f"{called}:{said}" if said else f"{scheme}://…{called}"
                    found.setdefault(called, (port, f"proposed: {what} of {draft.label} names {shown}"))
    return found


def _health(ledger: Ledger, draft: Draft) -> None:
    health = draft.health
    if health is None:
        return
    say_connection(ledger, health, draft.port)
    if not draft.port and not health.port and health.times and health.test is None:
        why = "nothing says a port to connect to, so readiness is not asked"
        node = next(one.node for one in draft.tree.entries if one.key.text == "healthcheck")
        ledger.note(Fate.LOST, f"{draft.where}.healthcheck", node, why, "add `port`")
    elif not draft.port and not health.port and health.times:
        node = next(one.node for one in draft.tree.entries if one.key.text == "healthcheck")
        ledger.note(
            Fate.LOST, f"{draft.where}.healthcheck", node, "there is no port, so readiness is not asked", "add `port`"
        )


def _refuse_cycles(ledger: Ledger, drafts: Mapping[str, Draft]) -> None:
    """Takes away services that wait for nothing left, until only cycles and what waits for them are left."""
    waits = {one.label: set(one.depends_on) for one in drafts.values()}
    while free := [name for name, others in waits.items() if not others & waits.keys()]:
        for name in free:
            del waits[name]
    for draft in drafts.values():
        if draft.label in waits:
            shown = ", ".join(f"`{one}`" for one in draft.depends_on)
            ledger.fault(draft.key, "dependency-cycle", f"`{draft.key.text}` waits for {shown}, and one of them for it")
            return


def _say_names(ledger: Ledger, draft: Draft, renamed: Mapping[str, str]) -> None:
    """Values that name a service by what it is no longer called."""
    for name, value in draft.env.items():
        for called in dict.fromkeys(re.findall(r"[A-Za-z0-9._-]+", value)):
            if called in renamed:
                why = f"it names `{called}`, which is called `{renamed[called]}` in the mesh"
                instead = f"write `{renamed[called]}`, if it is the service"
                ledger.tell(Fate.DECIDE, f"{draft.where}.environment.{name}", draft.key.place, why, instead)
