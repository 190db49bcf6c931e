from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tulle.supervisor.hosts import rewrite


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_the_text_changes_and_the_inode_stays(texts: list[bytes]) -> None:
    path = Path("/tmp") / f"tulle-hosts-{id(texts)}"
    try:
        rewrite(str(path), b"first")
        inode = path.stat().st_ino
        for text in texts:
            rewrite(str(path), text)
            assert path.read_bytes() == text
        assert path.stat().st_ino == inode
        assert path.stat().st_mode & 0o777 == 0o644
    finally:
        path.unlink()
