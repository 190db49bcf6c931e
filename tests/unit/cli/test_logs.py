"""Logs of many files become one stream by time."""

from contextlib import closing
from pathlib import Path

import pytest

from tulle.cli.log_files import Line, LogReader, Tail
from tulle.cli.logs import chosen, followed, is_meant, log_directory, read_all, sources_in
from tulle.cli.running import Running
from tulle.cli.words import Exit, Failure

STAMP = "2026-11-21T14:00:0{}.000000000Z"


def record(second: int, text: str, flag: str = "F") -> str:
    return f"{STAMP.format(second)} stdout {flag} {text}\n"


def test_files_and_their_older_parts_are_merged_by_time(tmp_path: Path) -> None:
    (tmp_path / "default_web.log.2").write_text(record(0, "first"))
    (tmp_path / "default_web.log.1").write_text(record(2, "third"))
    (tmp_path / "default_web.log").write_text(record(5, "last"))
    (tmp_path / "prod_my_odd.log").write_text(record(1, "second") + record(4, "fourth"))

    lines, readers = read_all(tmp_path, sources_in(tmp_path))

    assert [line.text for line in lines] == ["first", "second", "third", "fourth", "last"]
    assert {line.source for line in lines} == {"default/web", "prod/my_odd"}
    assert set(readers) == {"default/web", "prod/my_odd"}
    for reader in readers.values():
        reader.close()


def test_parts_of_a_long_line_are_one_line_wherever_the_file_is_cut() -> None:
    octets = (record(1, "abc", "P") + record(2, "def") + record(3, "")).encode()
    for cut in range(len(octets)):
        tail = Tail("default/web")
        found = tail.feed(octets[:cut]) + tail.feed(octets[cut:])

        assert [line.text for line in found] == ["abcdef", ""]


def test_line_that_no_one_stamped_is_kept() -> None:
    (line,) = Tail("agent").feed(b"oops\n")

    assert line == Line("", "agent", "", "oops")


def test_the_access_log_goes_by_its_own_moments(tmp_path: Path) -> None:
    (tmp_path / "default_web.log").write_text(record(1, "before") + record(3, "after"))
    told = '{"time":"2026-11-21T14:00:02.000000Z","source":"default/web"}'
    (tmp_path / "access.log").write_text(f"{told}\n")

    lines, readers = read_all(tmp_path, sources_in(tmp_path))

    assert [(line.source, line.text) for line in lines] == [
        ("default/web", "before"),
        ("access", told),
        ("default/web", "after"),
    ]
    assert [line.stamp for line in lines] == [STAMP.format(second) for second in (1, 2, 3)]
    for reader in readers.values():
        reader.close()


def test_the_access_log_is_shown_when_it_is_asked_for() -> None:
    known = ["access", "default/web"]

    assert chosen(known, (), everything=False) == ["default/web"]
    assert chosen(known, ("access",), everything=False) == ["access"]
    assert "access" in chosen(known, (), everything=True)


@pytest.mark.parametrize(
    ("word", "source", "expected"),
    [
        ("web", "default/web", True),
        ("orders", "default/orders-v1", True),
        ("orders", "prod/orders", False),
        ("prod/orders", "prod/orders-v2", True),
        ("order", "default/orders", False),
        ("agent", "agent", True),
        ("agent", "default/agent", True),
        ("age", "agent", False),
    ],
)
def test_word_means_a_service_in_its_namespace(word: str, source: str, expected: bool) -> None:
    assert is_meant(word, source) is expected


def test_unknown_word_names_the_nearest() -> None:
    with pytest.raises(Failure) as caught:
        chosen(["default/orders", "agent"], ["ordres"], everything=False)

    assert (
        caught.value.hint
        == "did you mean `default/orders`? Whoever never wrote has no log: `tulle status` says how it is"
    )
    assert caught.value.exit is Exit.USAGE


def test_without_words_services_are_meant_and_our_own_on_demand() -> None:
    sources = ["agent", "default/web", "proxy"]

    assert chosen(sources, [], everything=False) == ["default/web"]
    assert chosen(sources, [], everything=True) == sources


def rotate(current: Path) -> None:
    """As the supervisor does."""
    for number in (2, 1):
        older = current.with_name(f"{current.name}.{number - 1}") if number > 1 else current
        if older.exists():
            older.rename(current.with_name(f"{current.name}.{number}"))


def append(current: Path, text: str) -> None:
    with current.open("a") as file:
        file.write(text)


class Following:
    """`logs -f` over a directory."""

    def __init__(self, directory: Path, sources: list[str], words: list[str] | None) -> None:
        lines, self._readers = read_all(directory, sources)
        self.before = [line.text for line in lines]
        self._lines = followed(directory, self._readers, words)

    def said(self, count: int = 1) -> list[str]:
        """The next lines."""
        return [next(self._lines).text for _ in range(count)]

    def close(self) -> None:
        self._lines.close()
        for reader in self._readers.values():
            reader.close()


@pytest.mark.parametrize("rotations", [1, 2])
def test_following_loses_and_repeats_no_line_across_rotations(tmp_path: Path, rotations: int) -> None:
    current = tmp_path / "default_web.log"
    append(current, record(0, "before"))
    with closing(Following(tmp_path, ["default/web"], ["web"])) as following:
        append(current, record(1, "0"))
        for number in range(1, rotations + 1):
            rotate(current)
            append(current, record(1 + number, str(number)))

        assert following.before == ["before"]
        assert following.said(rotations + 1) == [str(number) for number in range(rotations + 1)]
        rotate(current)
        append(current, record(8, "after"))
        assert following.said() == ["after"]


def test_a_line_that_was_half_written_when_following_began_is_whole(tmp_path: Path) -> None:
    current = tmp_path / "default_web.log"
    whole = record(1, "one line")
    append(current, record(0, "before") + whole[:12])
    with closing(Following(tmp_path, ["default/web"], [])) as following:
        append(current, whole[12:])

        assert following.said() == ["one line"]


def test_a_service_that_begins_to_write_is_followed_from_its_first_line(tmp_path: Path) -> None:
    with closing(Following(tmp_path, [], None)) as following:
        append(tmp_path / "default_new.log", record(0, "first"))

        assert following.said() == ["first"]


def test_a_part_that_is_renamed_while_it_is_looked_for_is_read_once(tmp_path: Path) -> None:
    current = tmp_path / "default_web.log"
    append(current, record(0, "only"))
    (tmp_path / "default_web.log.1").hardlink_to(current)

    with closing(LogReader(current, "default/web")) as reader:
        assert [line.text for line in reader.read()] == ["only"]


def test_logs_that_are_gone_name_the_mesh_that_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TULLE_STATE_DIR", str(tmp_path))
    monkeypatch.setattr("tulle.cli.running.running", lambda _: Running("shop", 1))

    with pytest.raises(Failure, match="mesh `shop`"):
        log_directory(None)
