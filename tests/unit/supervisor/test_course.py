"""A pod's life, transition by transition: what is heard, what state follows, what is to be done."""

import signal
from collections.abc import Callable

import pytest

from tulle.supervisor import words
from tulle.supervisor.course import Course
from tulle.wire.plan import PodSpec, PodState, Readiness

SPEC = PodSpec("default/web", "default", ["/bin/web"], {}, "/", readiness=Readiness(80))


def starting() -> Course:
    course = Course(SPEC)
    course.begins()
    course.launched()
    course.heard(words.STARTED, [])
    return course


def ready() -> Course:
    course = starting()
    course.heard(words.READY, [])
    return course


def unready() -> Course:
    course = ready()
    course.heard(words.UNREADY, ["port 80: refused"])
    return course


def stopping() -> Course:
    course = ready()
    course.stops()
    return course


def where(course: Course) -> tuple[PodState, str]:
    return course.state, course.why


def test_it_waits_starts_and_is_ready() -> None:
    course = Course(SPEC)
    course.waits_for(["default/store", "default/queue"])
    assert where(course) == (PodState.WAITING, "waits for default/store, default/queue")

    course.begins()
    course.launched()
    assert where(course) == (PodState.STARTING, "")
    course.heard(words.READY, [])
    assert where(course) == (PodState.READY, "")
    assert course.restarts == 0


@pytest.mark.parametrize(
    ("begin", "word", "said", "then"),
    [
        (starting, words.SLOW, ["port 80: refused"], (PodState.STARTING, "not ready in time; still asked: port 80: refused")),
        (ready, words.UNREADY, ["port 80: refused"], (PodState.UNREADY, "port 80: refused")),
        (unready, words.READY, [], (PodState.READY, "")),
        # What makes no sense now changes nothing: a pod may claim anything at any time.
        (ready, words.SLOW, ["late"], (PodState.READY, "")),
        (starting, words.UNREADY, ["early"], (PodState.STARTING, "waits for port 80")),
        (ready, words.UNREADY, [], (PodState.READY, "")),
        (stopping, words.READY, [], (PodState.STOPPING, "")),
        (stopping, words.UNREADY, ["no"], (PodState.STOPPING, "")),
        (ready, "nonsense", ["x"], (PodState.READY, "")),
    ],
)  # fmt: skip
def test_what_its_pid_1_says(
    begin: Callable[[], Course], word: str, said: list[str], then: tuple[PodState, str]
) -> None:
    course = begin()

    course.heard(word, said)

    assert where(course) == then


def test_an_end_is_a_pause_that_grows_and_the_next_life_says_why() -> None:
    course = ready()
    pauses = []
    for restarts in range(3):
        again = course.ended("exit 3", 1.0, collides=False)
        assert again and again.say == f"ended (exit 3); starting it again in {again.seconds:g} s"
        assert (*where(course), course.restarts) == (PodState.BACKOFF, "exit 3", restarts)
        pauses.append(again.seconds)
        course.begins()
        course.launched()
        assert (*where(course), course.restarts) == (PodState.STARTING, "exit 3", restarts + 1)

    assert pauses == [0.1, 0.2, 0.4]


@pytest.mark.parametrize("word", [words.EXIT, words.CANNOT])
def test_what_it_said_of_its_end_is_the_reason_and_is_forgotten_with_the_next_life(word: str) -> None:
    course = starting()
    course.heard(word, ["cannot run /bin/web"])
    course.ended("exit 1", 1.0, collides=False)
    assert course.why == "cannot run /bin/web"

    course.begins()
    course.launched()
    course.ended("signal SIGKILL", 1.0, collides=False)

    assert course.why == "signal SIGKILL"


def test_what_the_box_refuses_is_said_once_and_tried_again_until_another_reason() -> None:
    course = Course(SPEC)
    course.begins()

    first = course.refused("init", "no process is left")
    second = course.refused("init", "no process is left")
    third = course.refused("tmpfs", "no such file system")

    assert course.state is PodState.IMPOSSIBLE
    assert first.say.startswith("cannot be started: init: no process is left. ")
    assert second.say == ""
    assert third.say.startswith("cannot be started: tmpfs: ")
    course.begins()
    assert course.restarts == 0


def test_a_refusal_heard_from_its_maker_is_the_reason_of_its_end() -> None:
    course = Course(SPEC)
    course.begins()
    course.launched()
    course.heard(words.IMPOSSIBLE, ["redirect", "not here"])

    again = course.ended("exit 0", 0.1, collides=False)

    assert again and again.seconds == 30.0
    assert course.state is PodState.IMPOSSIBLE
    assert course.why.startswith("redirect: not here. ")


def test_who_runs_code_is_asked_to_stop_and_who_runs_none_is_killed() -> None:
    made = Course(SPEC)
    made.begins()
    made.launched()

    assert ready().stops() is signal.SIGTERM
    assert made.stops() is signal.SIGKILL


@pytest.mark.parametrize("refusal", [[], ["init", "no process is left"]])
def test_what_is_to_stop_is_not_started_again(refusal: list[str]) -> None:
    course = stopping()
    course.heard(words.IMPOSSIBLE, refusal)

    assert course.ended("signal SIGTERM", 1.0, collides=False) is None
    assert where(course) == (PodState.STOPPED, "signal SIGTERM")
    assert not course.is_running


def test_a_service_that_may_have_collided_is_told_what_to_do_and_one_that_was_ready_is_not() -> None:
    young, grown, done = starting(), ready(), starting()
    for course, how in ((young, "exit 1"), (grown, "exit 1"), (done, "exit 0")):
        course.ended(how, 1.0, collides=True)

    assert young.why.startswith("exit 1; it cannot listen at port 80 of every address here. Let ")
    assert (grown.why, done.why) == ("exit 1", "exit 0")


def test_what_is_missing_is_looked_for_sooner_at_first() -> None:
    course = Course(SPEC)

    pauses = []
    for _ in range(7):
        course.begins()
        pauses.append(course.refused("image", "there is no image web on this box").seconds)

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert course.refused("mounts", "/ is the whole box").seconds == 30.0


def test_an_image_on_its_way_is_told_until_the_service_runs() -> None:
    course = Course(SPEC)
    course.begins()
    course.launched()

    course.heard(words.PULLING, ["registry/web"])
    assert (course.state, course.why) == (PodState.STARTING, "pulling registry/web")
    course.heard(words.STARTED, [])
    assert (course.state, course.why) == (PodState.STARTING, "waits for port 80")


def test_what_starts_says_what_it_waits_for_and_how_it_ended_before() -> None:
    course = Course(SPEC._replace(readiness=Readiness(80, "/health")))
    course.begins()
    course.launched()
    course.heard(words.STARTED, [])
    assert where(course) == (PodState.STARTING, "waits for GET /health at port 80")

    course.ended("exit 3", 1.0, collides=False)
    course.begins()
    course.launched()
    course.heard(words.STARTED, [])
    assert where(course) == (PodState.STARTING, "exit 3; waits for GET /health at port 80")
