"""Whose a socket is."""

import pytest

from tulle.proxy.facts import MAX_STRANGERS, Facts

NOBODY_UID = 65534


@pytest.fixture
def facts() -> Facts:
    return Facts(sees_all_users=True)


def test_user_and_group_count_before_the_group_and_that_before_the_user(facts: Facts) -> None:
    facts.tell("a/user", 10, None)
    facts.tell("a/group", -1, [5])
    facts.tell("a/both", 10, [5, 6])
    assert [facts.recognise(*one) for one in ((10, 5), (10, 6), (10, 7), (11, 5), (11, 6), (11, 7))] == [
        "a/both",
        "a/both",
        "a/user",
        "a/group",
        "",
        "",
    ]


def test_what_two_claim_is_nobodys(facts: Facts) -> None:
    facts.tell("a/one", 10, None)
    facts.tell("a/two", 10, None)
    facts.tell("a/three", -1, [5])
    facts.tell("a/four", -1, [5])
    facts.tell("a/five", 10, [7])
    facts.tell("a/six", 10, [7])
    assert {facts.recognise(10, group) for group in (5, 7, 9)} == {""}
    facts.drop("a/two")
    assert facts.recognise(10, 9) == "a/one"


def test_workload_without_a_group_now_has_no_socket(facts: Facts) -> None:
    facts.tell("a/both", 10, [])
    facts.tell("a/none", -1, [])
    assert facts.recognise(10, 5) == ""


def test_unknown_user_is_nobody_and_root_is_not_unknown(facts: Facts) -> None:
    facts.tell("a/root", 0, None)
    assert (facts.recognise(-1, 5), facts.recognise(0, 5)) == ("", "a/root")


def test_overflow_uid_is_a_user_only_where_all_have_names() -> None:
    for sees_all, workload in (True, "a/nobody"), (False, ""):
        facts = Facts(sees_all)
        facts.tell("a/nobody", NOBODY_UID, None)
        facts.tell("a/both", NOBODY_UID, [5])
        facts.tell("a/group", -1, [6])
        assert facts.recognise(NOBODY_UID, 9) == workload
        assert facts.recognise(NOBODY_UID, 5) == ("a/both" if sees_all else "")
        assert facts.recognise(NOBODY_UID, 6) == "a/group"


def test_unknown_group_is_in_doubt_where_it_could_be_somebodys(facts: Facts) -> None:
    facts.tell("a/user", 10, None)
    assert not facts.is_doubtful(10, 5)
    facts.tell("a/both", 11, [6])
    assert [facts.is_doubtful(*one) for one in ((10, 5), (11, 5), (11, 6))] == [False, True, False]
    facts.tell("a/group", -1, [7])
    assert [facts.is_doubtful(*one) for one in ((10, 5), (11, 6), (12, 7), (12, 8))] == [True, False, False, True]


def test_caller_whose_group_is_not_said_is_known_by_its_user_where_no_group_could_make_it_another(facts: Facts) -> None:
    facts.tell("a/user", 10, None)
    facts.tell("a/other", 11, None)
    facts.tell("a/both", 11, [5])
    assert [facts.recognise(uid, -1) for uid in (10, 11, 12)] == ["a/user", "", ""]
    assert not any(facts.is_doubtful(uid, -1) for uid in (10, 11, 12))
    assert facts.may_stay("a/user", 10, -1)
    facts.tell("a/group", -1, [6])
    assert facts.recognise(10, -1) == ""
    assert not facts.is_doubtful(10, -1)
    assert not facts.may_stay("a/user", 10, -1)


def test_caller_without_a_name_and_a_group_is_nobody() -> None:
    facts = Facts(sees_all_users=False)
    facts.tell("a/nobody", NOBODY_UID, None)
    assert facts.recognise(NOBODY_UID, -1) == ""


def test_strangers_are_remembered_until_the_facts_change(facts: Facts) -> None:
    facts.tell("a/group", -1, [7])
    facts.remember_stranger(5)
    assert not facts.is_doubtful(1, 5)
    assert not facts.tell("a/group", -1, [7])
    assert not facts.is_doubtful(1, 5)
    assert facts.tell("a/group", -1, [7, 8])
    assert facts.is_doubtful(1, 5)


def test_strangers_are_bounded(facts: Facts) -> None:
    facts.tell("a/group", -1, [1])
    for group in range(2, MAX_STRANGERS + 3):
        facts.remember_stranger(group)
    assert facts.is_doubtful(1, 2)
    assert not facts.is_doubtful(1, 3)
    assert not facts.is_doubtful(1, MAX_STRANGERS + 2)


def test_connection_stays_while_its_caller_is_who_it_was(facts: Facts) -> None:
    facts.tell("a/group", -1, [5])
    assert facts.may_stay("a/group", 1, 5)
    facts.tell("a/group", -1, [6])
    assert facts.may_stay("a/group", 1, 5)  # that group is no more
    facts.tell("a/other", -1, [5])
    assert not facts.may_stay("a/group", 1, 5)
    facts.drop("a/other")
    facts.tell("a/group", 2, [6])
    assert not facts.may_stay("a/group", 1, 5)
    facts.tell("a/group", 1, None)
    assert facts.may_stay("a/group", 1, 5)
    facts.tell("a/group", 2, None)
    assert not facts.may_stay("a/group", 1, 5)
    facts.drop("a/group")
    assert not facts.may_stay("a/group", 2, 5)
