"""Deadlines are met, none early, none more than a revolution late, and sleep is long when nothing happens."""

import math

from tulle.proxy.wheel import NEVER, SLOTS, Timed, Wheel

REVOLUTION = 4.0


class Alarm(Timed):
    def __init__(self, deadline: float) -> None:
        super().__init__()
        self.deadline = deadline
        self.rang: list[float] = []

    def on_deadline(self, now: float) -> None:
        self.rang.append(now)
        self.deadline = NEVER


def run(wheel: Wheel, start: float, end: float) -> int:
    """Sleeps as the loop would; returns how often it woke."""
    now, woke = start, 0
    while (wait := wheel.wait(now)) != math.inf and now + wait <= end:
        now += wait
        wheel.turn(now)
        woke += 1
    return woke


def test_each_deadline_is_met_within_a_revolution() -> None:
    wheel = Wheel(REVOLUTION)
    alarms = [Alarm(0.37 * number) for number in range(100)]
    for alarm in alarms:
        wheel.add(alarm, 0.0)
    run(wheel, 0.0, 60.0)
    for number, alarm in enumerate(alarms):
        (rang,) = alarm.rang
        assert 0.37 * number <= rang <= 0.37 * number + REVOLUTION + REVOLUTION / SLOTS


def test_a_deadline_may_move_without_telling() -> None:
    wheel = Wheel(REVOLUTION)
    alarm = Alarm(5.0)
    wheel.add(alarm, 0.0)
    run(wheel, 0.0, 4.0)
    alarm.deadline = 20.0
    wheel.stir(4.0)
    run(wheel, 4.0, 60.0)
    assert 20.0 <= alarm.rang[0] <= 20.0 + REVOLUTION + REVOLUTION / SLOTS


def test_an_earlier_deadline_after_a_long_sleep_is_met() -> None:
    wheel = Wheel(REVOLUTION)
    alarm = Alarm(300.0)
    wheel.add(alarm, 0.0)
    run(wheel, 0.0, 100.0)
    alarm.deadline = 110.0
    wheel.stir(100.0)
    run(wheel, 100.0, 200.0)
    assert 110.0 <= alarm.rang[0] <= 110.0 + REVOLUTION + REVOLUTION / SLOTS


def test_without_events_it_wakes_for_deadlines_only() -> None:
    wheel = Wheel(REVOLUTION)
    for number in range(50):
        wheel.add(Alarm(300.0 + number / 100), 0.0)
    assert run(wheel, 0.0, 299.0) <= SLOTS + 1


def test_an_empty_wheel_never_wakes() -> None:
    wheel = Wheel(REVOLUTION)
    alarm = Alarm(1.0)
    wheel.add(alarm, 0.0)
    wheel.remove(alarm)
    wheel.remove(alarm)
    assert wheel.wait(0.0) == math.inf


def test_who_is_removed_while_the_wheel_turns_is_left_alone() -> None:
    wheel = Wheel(REVOLUTION)
    others: list[Alarm] = []

    class Remover(Alarm):
        def on_deadline(self, now: float) -> None:
            super().on_deadline(now)
            for other in others:
                wheel.remove(other)

    others.extend(Remover(1.0) for _ in range(10))
    for other in others:
        wheel.add(other, 0.0)
    run(wheel, 0.0, 60.0)
    assert sum(len(other.rang) for other in others) == 1
