"""Compose files → mesh files, feature by feature, and what hostile ones meet."""

from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.support.manifests import compiled
from tools.compose_fixtures import CORPUS, HOME, imported
from tulle.manifest.compose import Fate, Imported, Surroundings, convert
from tulle.manifest.compose.dotenv import read_env
from tulle.manifest.compose.interpolate import BadText, Interpolation
from tulle.model.place import Problem

EXPECTED = HOME / "expected"


def made(text: str, around: Surroundings | None = None) -> Imported:
    found = convert("compose.yaml", text, around or Surroundings())
    assert isinstance(found, Imported), "\n".join(map(str, found))
    return found


def service(fields: str, **around: Any) -> dict[str, Any]:
    """The one service of a mesh file, whose compose file says `fields` of it in one line."""
    text = made(f"services:\n  web: {{image: i, {fields}}}\n", Surroundings(**around)).text
    compiled(text)
    found: dict[str, Any] = yaml.safe_load(text)["services"]["web"]
    return found


def said(text: str, around: Surroundings | None = None) -> list[tuple[Fate, str, int]]:
    return [(one.fate, one.what, one.place.line) for one in made(text, around).notes if one.what != "images"]


def refused(text: str, around: Surroundings | None = None) -> list[tuple[str, int]]:
    found = convert("compose.yaml", text, around or Surroundings())
    assert isinstance(found, list), found.text
    return [(one.code, one.line) for one in found]


@pytest.mark.parametrize("compose", CORPUS, ids=lambda one: one.stem)
def test_what_is_imported_compiles(compose: Path) -> None:
    compiled(imported(compose).text)


@pytest.mark.parametrize("compose", CORPUS, ids=lambda one: one.stem)
def test_the_checked_in_mesh_files_and_notes_are_those_of_today(compose: Path) -> None:
    found = imported(compose)

    assert found.text == (EXPECTED / f"{compose.stem}.yaml").read_text()
    assert "\n\n".join(map(str, found.notes)) + "\n" == (EXPECTED / f"{compose.stem}.notes").read_text()


def test_every_text_arrives_as_it_was_written() -> None:
    theirs = yaml.safe_load((HOME / "awkward.yaml").read_text())["services"]["texts"]
    ours = yaml.safe_load(imported(HOME / "awkward.yaml").text)["services"]["texts"]["container"]

    assert ours["command"] == theirs["command"]
    assert ours["env"]["MULTI"] == theirs["environment"]["MULTI"]
    assert ours["env"]["OCTAL"] == "010"
    assert ours["env"]["YES"] == "yes"
    assert ours["env"]["DOLLAR"] == "$5"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ('ports: ["8080:80"]', {"port": 80, "expose": 8080}),
        ("ports: [8080:80]", {"port": 80, "expose": 8080}),
        ('ports: ["0.0.0.0:8080:80/tcp"]', {"port": 80, "expose": 8080}),
        ('ports: ["[::]:8080:80"]', {"port": 80, "expose": 8080}),
        ('ports: [{target: 80, published: "8080"}]', {"port": 80, "expose": 8080}),
        ('ports: ["9090", "8080:80"]', {"port": 80, "expose": 8080}),
        ('ports: ["8080:3306"]', {"port": 3306, "expose": 8080, "protocol": "tcp"}),
        ("ports: [{target: 50051, published: 50051, app_protocol: grpc}]", {"port": 50051, "expose": 50051, "protocol": "grpc"}),
        ('expose: ["6379"]', {"port": 6379, "protocol": "tcp"}),
        ("expose: [8000], stop_grace_period: 1m30s", {"port": 8000, "stop_seconds": 90}),
        ("expose: [80], healthcheck: {test: [CMD, curl, -f, 'http://localhost/up']}", {"port": 80, "readiness": "/up"}),
        ("expose: [80], healthcheck: {test: 'wget -qO- localhost:81/up || exit 1'}", {"port": 80, "readiness": {"path": "/up", "port": 81}}),
        (
            "healthcheck: {test: curl -f http://localhost:9/a, interval: 5s, timeout: 1s, retries: 2, start_period: 1m}",
            {"port": 9, "readiness": {"path": "/a", "period": 5, "timeout": 1, "failure_threshold": 2, "startup": 60}},
        ),
        ("healthcheck: {test: nc -z localhost 1883}", {"port": 1883, "protocol": "tcp"}),
        ("healthcheck: {test: curl -f https://localhost/up}, expose: [443]", {"port": 443}),
        ("healthcheck: {test: curl -f http://other/up}, expose: [443]", {"port": 443}),
    ],
)  # fmt: skip
def test_where_a_service_listens_and_when_it_is_ready(fields: str, expected: dict[str, Any]) -> None:
    found = service(fields)

    assert {name: held for name, held in found.items() if name not in {"container", "allow"}} == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("command: a 'b c'", {"command": "a 'b c'"}),
        ("command: [a, b c]", {"command": ["a", "b c"]}),
        ("environment: [A=1, B=, C=x=y]", {"env": {"A": "1", "B": "", "C": "x=y"}}),
        ("environment: {A: 1, B: '', C: x=y}", {"env": {"A": "1", "B": "", "C": "x=y"}}),
        ("env_file: a.env, environment: {A: own}", {"env": {"A": "own", "B": "file"}}),
        ("env_file: [a.env, {path: b.env}]", {"env": {"A": "later", "B": "file"}}),
        ("volumes: ['./a:/a', 'b:/b:ro']", {"mounts": ["./a:/a", "b:/b:ro"]}),
        ("volumes: [{type: bind, source: a, target: /a, read_only: true}]", {"mounts": ["./a:/a:ro"]}),
        ("volumes: ['./a:/a', './b:/a']", {"mounts": ["./b:/a"]}),
        ("volumes: ['~/a:/a']", {"mounts": ["/home/me/a:/a"]}),
        ("user: '1000:1000', mem_limit: 512m, cpus: 1.5", {"user": "1000:1000", "memory": "512Mi", "cpus": 1.5}),
        ("deploy: {resources: {limits: {memory: 1.5g, cpus: '0.50'}}}", {"memory": "1536Mi", "cpus": 0.5}),
        ("pull_policy: if_not_present", {"pull": "missing"}),
        ("pull_policy: never", {"pull": "never"}),
    ],
)
def test_what_a_container_is(fields: str, expected: dict[str, Any]) -> None:
    files = {"a.env": "A=file\nB=file\n", "b.env": "A=later\n"}

    found = service(fields, variables={"HOME": "/home/me"}, read=files.get)

    assert found["container"] == {"image": "i", **expected}


def test_a_door_for_some_only_is_left_shut_and_said() -> None:
    text = 'services:\n  web:\n    image: i\n    ports: ["127.0.0.1:8080:80"]\n'

    assert "expose" not in yaml.safe_load(made(text).text)["services"]["web"]
    assert said(text) == [(Fate.LOST, "services.web.ports[0]: 127.0.0.1:8080:80", 4)]


def test_who_depends_may_call_and_is_marked() -> None:
    text = made("services: {web: {image: i, depends_on: [db], expose: [80]}, db: {image: i, expose: [5432]}}").text

    assert yaml.safe_load(text)["services"]["db"]["allow"] == [{"from": ["web"]}]
    assert yaml.safe_load(text)["services"]["web"]["depends_on"] == ["db"]
    assert "- {from: [web]} # proposed from depends_on" in text
    assert "protocol: tcp # proposed: port 5432" in text
    assert "# decide: no `allow`, so nothing may call it" in text


@pytest.mark.parametrize(
    ("environment", "port"),
    [("A: 'tcp://db:7000'", 7000), ("A: 'postgres://u:p@db/x'", 5432), ("A: 'x,db:9,y'", 9), ("A: db", None), ("A: mydb:7000", None), ("A: 'db:70000'", None)],
)  # fmt: skip
def test_a_port_that_nothing_declares_is_proposed_from_what_others_dial(environment: str, port: int | None) -> None:
    text = made(
        f"services: {{web: {{image: i, depends_on: [db], environment: {{{environment}}}}}, db: {{image: i}}}}"
    ).text

    assert yaml.safe_load(text)["services"]["db"].get("port") == port
    assert ("nothing says where it listens" in text) is (port is None)


def test_a_profile_that_is_not_enabled_is_left_out_and_said() -> None:
    text = "services:\n  a: {image: i}\n  b: {image: i, profiles: [debug]}\n"

    assert list(yaml.safe_load(made(text).text)["services"]) == ["a"]
    assert (Fate.LOST, "services.b: {image: i, profiles: [debug]}", 3) in said(text)
    assert list(yaml.safe_load(made(text, Surroundings(profiles=frozenset({"debug"}))).text)["services"]) == ["a", "b"]


def test_paths_begin_at_the_compose_file_wherever_the_mesh_file_lies() -> None:
    found = service("volumes: ['./a:/a', '../b:/b', '/c:/c', 'd:/d']", elsewhere="/srv/shop")

    assert found["container"]["mounts"] == ["/srv/shop/a:/a", "/srv/b:/b", "/c:/c", "d:/d"]


def test_a_secret_is_carried_and_never_said() -> None:
    found = made("services: {web: {image: i, environment: {DB_PASSWORD: hunter2}, build: {args: [API_TOKEN=hunter3]}}}")

    assert found.holds_secrets
    assert "hunter2" in found.text
    assert not any("hunter" in str(one) for one in found.notes)


def test_a_file_that_says_only_what_a_mesh_can_is_whole() -> None:
    assert made("name: m\nservices: {web: {image: i, pull_policy: never, user: me}}").is_whole
    assert not made("name: m\nservices: {web: {image: i, pull_policy: never, tty: true}}").is_whole


VARIABLES = {"SET": "value", "EMPTY": "", "SET2": "two"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$SET", "value"), ("${SET}", "value"), ("a${SET}b$SET2", "avaluebtwo"), ("$NONE|", "|"), ("$$SET", "$SET"), ("$${SET}", "${SET}"),
        ("${SET:-d}", "value"), ("${EMPTY:-d}", "d"), ("${NONE:-d}", "d"), ("${SET-d}", "value"), ("${EMPTY-d}", ""), ("${NONE-d}", "d"),
        ("${SET:+r}", "r"), ("${EMPTY:+r}", ""), ("${NONE:+r}", ""), ("${SET+r}", "r"), ("${EMPTY+r}", "r"), ("${NONE+r}", ""),
        ("${NONE:-${SET}}", "value"), ("${NONE:-${EMPTY:-deep}}", "deep"), ("${NONE:-a b}", "a b"), ("${NONE:-}", ""),
        ("${SET?e}", "value"), ("${EMPTY?e}", ""), ("${NONE:-$$}", "$"), ("100%", "100%"), ("{}", "{}"),
        ("${SET:-${NONE}}", "value"),
    ],
)  # fmt: skip
def test_variables_are_replaced_as_the_specification_says(text: str, expected: str) -> None:
    assert Interpolation(VARIABLES).text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "$",
        "$(date)",
        "${",
        "${}",
        "${SET",
        "${SET!x}",
        "${NONE:?gone}",
        "${EMPTY:?gone}",
        "${NONE?}",
        "$1",
        "${A:-" * 40,
    ],
)
def test_variables_that_cannot_be_replaced_are_refused(text: str) -> None:
    with pytest.raises(BadText):
        Interpolation(VARIABLES).text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nB = 2", {"A": "1", "B": "2"}),
        ("# no\n\nexport A=1 # yes\r\n", {"A": "1"}),
        ("A='$SET # \\n'", {"A": "$SET # \\n"}),
        ('A="$SET\\n\\"x\\" # y" # z', {"A": 'value\n"x" # y'}),
        ('A="one\ntwo"\nB=3', {"A": "one\ntwo", "B": "3"}),
        ("A=$SET\nB=${A}!", {"A": "value", "B": "value!"}),
        ("A=a#b\nB=", {"A": "a#b", "B": ""}),
        ("A\nB=2", {"A": None, "B": "2"}),
        ("A: 1", {"A": "1"}),
        ("\ufeffA=1", {"A": "1"}),
        ('A="\\$SET"', {"A": "$SET"}),
        ("", {}),
    ],
)
def test_files_of_variables_are_read_as_the_specification_says(text: str, expected: dict[str, str | None]) -> None:
    assert read_env(text, VARIABLES) == expected


@pytest.mark.parametrize("text", ["1=2", "A='x", 'A="x', "A=$(x)", "=x", "A B"])
def test_files_of_variables_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(BadText, match="line 1"):
        read_env(text, {})


def test_a_raw_file_of_variables_is_taken_as_it_is() -> None:
    assert read_env("A='$SET' # x\n", VARIABLES, raw=True) == {"A": "'$SET' # x"}


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "wrong-type", 1),
        ("[]", "wrong-type", 1),
        ("version: '3'", "missing-field", 1),
        ("services: []", "missing-field", 1),
        ("services: {web: }", "wrong-type", 1),
        ("services:\n  web: {}", "missing-field", 2),
        ("services:\n  web: {image: [i]}", "wrong-type", 2),
        ("services:\n  web:\n    image: i\n    ports: 80", "wrong-type", 4),
        ("services:\n  web:\n    image: i\n    ports: [a:b]", "bad-value", 4),
        ("services:\n  web:\n    image: i\n    ports: ['99999:80']", "bad-value", 4),
        ("services:\n  web: {image: i, depends_on: [wbe]}", "unknown-service", 2),
        ("services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, depends_on: [a]}", "dependency-cycle", 2),
        ("services:\n  a: {extends: b}\n  b: {extends: a}", "dependency-cycle", 2),
        ("services:\n  a: {image: i, env_file: gone.env}", "unreadable", 2),
        ("services:\n  a: {image: i, secrets: [gone]}", "missing-field", 2),
        ("services:\n  a: {image: !reset i}", "bad-yaml", 2),
        ("services:\n  a: {image: '${TAG:?say it}'}", "bad-value", 2),
        ("services:\n  a: {image: i, healthcheck: {test: [curl]}}", "bad-value", 2),
        ("services:\n  a: {image: i, healthcheck: {interval: soon}}", "bad-value", 2),
        ("services: {a: {image: i}}\n---\nservices: {b: {image: i}}", "wrong-type", 3),
    ],
)
def test_what_compose_would_refuse_is_refused_with_its_line(text: str, code: str, line: int) -> None:
    assert refused(text)[0] == (code, line)


def laughs(levels: int) -> str:
    lines = ["x0: &x0 [a, a, a, a, a, a, a, a, a]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join([*lines, "services: {web: {image: i}}"])


def nested(levels: int) -> str:
    return "\n".join(
        ["x0: &x0 {}", *(f"x{n}: &x{n} {{a: *x{n - 1}}}" for n in range(1, levels)), "services: {web: {image: i}}"]
    )


def grown(levels: int) -> dict[str, str]:
    found = {"V0": "x" * 1024}
    for n in range(1, levels):
        found[f"V{n}"] = found[f"V{n - 1}"] * 2
    return found


@pytest.mark.parametrize(
    "text",
    [laughs(9), nested(300), "[" * 100_000, "a" * (4 * 1024 * 1024 + 1), "services: {" + "a: {<<: *b}," * 9],
    ids=["laughs", "aliases", "depth", "size", "anchor"],
)
def test_what_is_made_to_grow_is_refused(text: str) -> None:
    assert refused(text)[0][0] in {"too-large", "bad-yaml"}


def many(count: int, fields: str) -> str:
    return "services:\n" + "".join(
        f"  s{n}: {{image: i, {fields.format(n=n, before=n - 1 if n else 'x')}}}\n" for n in range(count)
    )


@pytest.mark.parametrize(
    "text",
    [
        many(1001, ""),
        many(60, "extends: s{before}").replace("extends: sx", ""),
        "services:\n  b: {image: i, labels: [" + "a, " * 60_000 + "]}\n" + "".join(f"  s{n}: {{extends: b}}\n" for n in range(20)),
        many(10, "env_file: large.env"),
    ],
    ids=["services", "chain", "copies", "files"],
)  # fmt: skip
def test_what_would_grow_by_its_own_references_is_refused(text: str) -> None:
    around = Surroundings(read={"large.env": "A=" + "x" * 1_000_000}.get)

    assert refused(text, around)[0][0] == "too-large"


def test_a_large_project_of_services_that_name_each_other_is_imported() -> None:
    text = many(900, "environment: {{A: 's{before}:80,' , B: 'http://s{n}:81', C: '" + "x" * 2000 + "'}}, expose: [80]")

    assert len(yaml.safe_load(made(text).text)["services"]) == 900


def test_variables_that_grow_are_refused() -> None:
    text = "services: {web: {image: i, command: [" + "'${V10}', " * 50 + "]}}"

    assert refused(text, Surroundings(variables=grown(11)))[0][0] == "too-large"
    with pytest.raises(BadText, match="too long"):
        read_env("\n".join(["A0=" + "x" * 4096, *(f"A{n}=$A{n - 1}$A{n - 1}" for n in range(1, 12))]), {})


def test_a_mesh_file_is_told_from_a_compose_file() -> None:
    found = convert("mesh.yaml", "mesh: m\nservices: {web: {run: x}}\n", Surroundings())

    assert [str(one) for one in cast("list[Problem]", found)] == [
        "error[unknown-field]: a mesh file, not a compose file\n  --> mesh.yaml:1\nhint: `tulle up` starts it as it is"
    ]
