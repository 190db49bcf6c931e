"""Problems read as a person needs them."""

from tulle.model.place import NOWHERE, Place, Problem, Word, in_order, nearest, place_of


def test_a_problem_shows_code_place_and_hint() -> None:
    problem = Problem.at(
        Place("mesh.yaml", 14), "unknown-service", "no service named `ordres`", nearest("ordres", ["orders", "web"])
    )

    assert str(problem) == (
        "error[unknown-service]: no service named `ordres`\n  --> mesh.yaml:14\nhint: did you mean `orders`?"
    )


def test_a_problem_without_a_line_names_the_file_alone() -> None:
    assert str(Problem("unreadable", "cannot read it", "mesh.yaml")).endswith("--> mesh.yaml")


def test_problems_come_once_and_by_line() -> None:
    first, second = (Problem.at(Place("a", line), "bad-value", "m") for line in (2, 10))

    assert in_order([second, first, second]) == [first, second]


def test_a_name_in_another_namespace_is_near() -> None:
    assert nearest("default/payments", ["prod/payments", "default/payment"]) == "did you mean `prod/payments`?"


def test_a_shared_namespace_makes_no_name_near() -> None:
    known = ["default/wrong", "default/site", "anonymous", "dev/site"]

    assert nearest("default/anonymos", known) == "did you mean `anonymous`?"
    assert nearest("default/shop", known) == ""
    assert nearest("dev/sit", known) == "did you mean `dev/site`?"


def test_nothing_near_gives_no_hint() -> None:
    assert nearest("zzz", ["orders"]) == ""


def test_a_word_equals_its_text_and_knows_its_line() -> None:
    word = Word.at("web", Place("mesh.yaml", 3))

    assert word in {"web"}
    assert place_of(word) == Place("mesh.yaml", 3)
    assert place_of("web") == NOWHERE


def test_what_came_from_a_file_cannot_move_the_cursor() -> None:
    problem = Problem("bad-value", "found `\x1b[2J\n`", "mesh.yaml", 1, "\u202e")

    assert str(problem) == "error[bad-value]: found `\\x1b[2J\\n`\n  --> mesh.yaml:1\nhint: \\u202e"
