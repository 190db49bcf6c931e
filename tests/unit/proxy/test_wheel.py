"""Deadlines are met, none early, none more than a revolution late, and sleep is long when nothing happens."""

import math

from tulle.proxy.wheel import SLOTS, Alarm, Timed, Wheel

REVOLUTION = 4.0


def no_defect(one: Timed) -> None:
    raise AssertionError(f"{one} failed")


def fail(now: float) -> None:
    raise ValueError(now)


def run(wheel: Wheel, start: float, end: float) -> int:
    """Sleeps as the loop would; returns how often it woke."""
    now, woke = start, 0
    while (wait := wheel.wait(now)) != math.inf and now + wait <= end:
        now += wait
        wheel.turn(now)
        woke += 1
    return woke


def test_each_deadline_is_met_within_a_revolution() -> None:
    wheel = Wheel(no_defect, REVOLUTION)
    rings: list[list[float]] = [[] for _ in range(100)]
    for number, ring in enumerate(rings):
        wheel.add(Alarm(0.37 * number, ring.append), 0.0)
    run(wheel, 0.0, 60.0)
    for number, ring in enumerate(rings):
        (rang,) = ring
        assert 0.37 * number <= rang <= 0.37 * number + REVOLUTION + REVOLUTION / SLOTS


def test_a_deadline_may_move_without_telling() -> None:
    wheel = Wheel(no_defect, REVOLUTION)
    rang: list[float] = []
    alarm = Alarm(5.0, rang.append)
    wheel.add(alarm, 0.0)
    run(wheel, 0.0, 4.0)
    alarm.deadline = 20.0
    wheel.stir(4.0)
    run(wheel, 4.0, 60.0)
    assert 20.0 <= rang[0] <= 20.0 + REVOLUTION + REVOLUTION / SLOTS


def test_an_earlier_deadline_after_a_long_sleep_is_met() -> None:
    wheel = Wheel(no_defect, REVOLUTION)
    rang: list[float] = []
    alarm = Alarm(300.0, rang.append)
    wheel.add(alarm, 0.0)
    run(wheel, 0.0, 100.0)
    alarm.deadline = 110.0
    wheel.stir(100.0)
    run(wheel, 100.0, 200.0)
    assert 110.0 <= rang[0] <= 110.0 + REVOLUTION + REVOLUTION / SLOTS


def test_without_events_it_wakes_for_deadlines_only() -> None:
    wheel = Wheel(no_defect, REVOLUTION)
    for number in range(50):
        wheel.add(Alarm(300.0 + number / 100, print), 0.0)
    assert run(wheel, 0.0, 299.0) <= SLOTS + 1


def test_an_empty_wheel_never_wakes() -> None:
    wheel = Wheel(no_defect, REVOLUTION)
    alarm = Alarm(1.0, print)
    wheel.add(alarm, 0.0)
    wheel.remove(alarm)
    wheel.remove(alarm)
    assert wheel.wait(0.0) == math.inf


def test_who_is_removed_while_the_wheel_turns_is_left_alone() -> None:
    wheel = Wheel(no_defect, REVOLUTION)
    others: list[Alarm] = []
    rang: list[float] = []

    def ring(now: float) -> None:
        rang.append(now)
        for other in others:
            wheel.remove(other)

    others.extend(Alarm(1.0, ring) for _ in range(10))
    for other in others:
        wheel.add(other, 0.0)
    run(wheel, 0.0, 60.0)
    assert len(rang) == 1


def test_an_exception_costs_no_other_its_deadline() -> None:
    failed: list[Timed] = []
    wheel = Wheel(failed.append, REVOLUTION)
    rings: list[list[float]] = [[] for _ in range(40)]
    alarms = [Alarm(5.0, ring.append) for ring in rings]
    alarms[7] = Alarm(5.0, fail)
    for alarm in alarms:
        wheel.add(alarm, 0.0)
    woke = run(wheel, 0.0, 60.0)
    assert failed == [alarms[7]]
    assert [len(ring) for ring in rings] == [1] * 7 + [0] + [1] * 32
    assert woke < 100
