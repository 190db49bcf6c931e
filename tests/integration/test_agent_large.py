"""A real agent given a large mesh: what it compiles aside is in force, faults keep their lines, and the memory goes."""

import msgspec

from benchmarks.compile import mesh
from tests.support.node_alone import NodeAlone, node_alone
from tulle.wire.status import Applied, Outcome

BEYOND = 1 << 30
"""A generation that no test reaches."""
KEPT = 12 << 20
"""Octets that the agent may grow by: texts, snapshot and plan, which are 3 MB, and holes between them. Compiled in the agent itself it is 18 and more."""

ROOM = 16 << 20
"""Octets that the agent may map besides: enough to be asked, and to answer. Compiling takes as much again."""


def applied(node: NodeAlone, files: dict[str, str]) -> Applied:
    answer = node.post("/apply", msgspec.json.encode({"files": files, "why": "test"}))
    return msgspec.json.decode(answer, type=Applied)


def test_a_large_apply_is_in_force_and_leaves_no_memory_behind() -> None:
    first = mesh(300, 4000, "edge")
    last = max(first)
    with node_alone(backend=1) as node:
        node.write("")
        node.start()
        node.follow(BEYOND)
        before = node.resident_bytes()

        assert applied(node, first).outcome is Outcome.IN_FORCE
        (change,) = applied(node, {**first, last: first[last].replace('"/x3999/*"', '"/other/*"')}).changes
        assert node.ask("/resources").count(b"kind: AuthorizationPolicy\n") >= 4000
        grown = node.resident_bytes() - before

        assert (change.what, change.name, str(change.how)) == ("policy", "default/p3999", "changed")
        assert change.details == ('rules[0].operations[0].paths[0]: "/x3999/*" → "/other/*"',)
        assert grown < KEPT

        broken = applied(node, {**first, last: first[last].replace("methods: [GET]", "methods: [get]", 1)})
        assert broken.outcome is Outcome.INVALID
        assert [(one.code, one.file, one.line) for one in broken.problems] == [("bad-value", last, 16)]
        assert applied(node, first).outcome is Outcome.IN_FORCE


def test_a_large_apply_for_which_there_is_no_memory_is_answered_and_the_agent_goes_on() -> None:
    large = mesh(300, 4000, "edge")
    with node_alone(backend=1) as node:
        node.write("")
        node.start()
        node.follow(BEYOND)
        before = node.status()

        node.limit_memory(ROOM)
        answer = applied(node, large)
        after = node.status()
        node.limit_memory()

        assert (answer.outcome, [one.code for one in answer.problems]) == (Outcome.INVALID, ["compile-killed"])
        assert (after.agent_pid, after.generation, after.ready) == (before.agent_pid, before.generation, before.ready)
        assert applied(node, large).outcome is Outcome.IN_FORCE
