"""What every pod of a mesh has in common."""

import pytest

from tulle.supervisor.outfit import hidden_directories


def test_nothing_that_tulle_keeps_can_be_seen_its_logs_included(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TULLE_RUNTIME_DIR", "TULLE_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 0)

    assert {path.rpartition("/tulle")[0] for path in hidden_directories("shop")} >= {"/run", "/var/lib", "/var/log"}


def test_of_a_place_that_was_chosen_only_what_is_this_meshs_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TULLE_RUNTIME_DIR", "/srv/run")
    monkeypatch.setenv("TULLE_STATE_DIR", "/srv/state")

    assert hidden_directories("shop") == ["/srv/run/shop", "/srv/state/shop", "/srv/run/shop.forward"]
