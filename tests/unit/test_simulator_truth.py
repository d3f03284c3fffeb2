from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ps2daemon.model.coverage import Span
from ps2daemon.simulator.truth import TrueAlert, TrueCharacter, TrueLock, Truth


def character(number: int, faction_id: int = 1, first_end: int | None = 0) -> TrueCharacter:
    return TrueCharacter(f"{number:019d}", f"name {number}", faction_id, 10, created=5, first_end=first_end)


def story() -> Truth:
    truth = Truth()
    truth.login(character(1), 1_000, sent=1_234)
    truth.login(character(2, faction_id=3, first_end=None), 2_000)
    truth.logout(f"{1:019d}", 5_000, sent=5_100)
    truth.alerts.append(
        TrueAlert(
            world_id=10,
            instance_id=7,
            metagame_event_id=147,
            zone_id=2,
            start=0,
            end=4_000,
            canceled=False,
            dominated=False,
            winner=2,
            territory_start=(33.0, 33.0, 33.0),
            territory_end=(30.0, 40.0, 29.0),
            lock_at=None,
        )
    )
    truth.locks.append(TrueLock(10, 2, 4_500, 2, 0, (30.0, 40.0, 30.0), None))
    truth.coverage.append(Span(10, 0, 9_000, "start"))
    return truth


def test_online_from_the_login_to_just_before_the_logout() -> None:
    truth = story()
    assert truth.online(999, 10) == {1: 0, 3: 0}
    assert truth.online(1_000, 10) == {1: 1, 3: 0}
    assert truth.online(4_999, 10) == {1: 1, 3: 1}
    assert truth.online(5_000, 10) == {1: 0, 3: 1}
    assert truth.online(5_000, 40) == {}


def test_it_can_be_asked_while_it_grows() -> None:
    truth = story()
    assert truth.online(9_000, 10) == {1: 0, 3: 1}
    truth.logout(f"{2:019d}", 8_000)
    assert truth.online(9_000, 10) == {1: 0, 3: 0}
    assert truth.online_count() == 0


def test_the_first_end_is_remembered_and_no_later_one() -> None:
    truth = story()
    who = f"{2:019d}"
    assert truth.characters[who].first_end is None
    truth.logout(who, 8_000)
    truth.login(truth.characters[who], 9_000)
    truth.logout(who, 9_500)
    assert truth.characters[who].first_end == 8_000
    assert truth.characters[f"{1:019d}"].first_end == 0


def test_forgetting_leaves_what_goes_on() -> None:
    truth = story()
    truth.forget(5_000)
    assert [session.character_id for session in truth.sessions] == [f"{2:019d}"]
    assert truth.alerts == []
    assert truth.locks == []
    assert truth.last_session(f"{1:019d}") is not None
    assert truth.online(6_000, 10) == {3: 1}


def test_a_file_says_the_same(tmp_path: Path) -> None:
    truth = story()
    truth.save(tmp_path / "truth.ndjson")
    loaded = Truth.load(tmp_path / "truth.ndjson")
    assert loaded.sessions == truth.sessions
    assert loaded.sessions[0].login_sent == 1_234
    assert loaded.characters == truth.characters
    assert (loaded.alerts, loaded.locks, loaded.coverage) == (truth.alerts, truth.locks, truth.coverage)
    assert loaded.running(f"{2:019d}") == truth.running(f"{2:019d}")
    assert loaded.online(1_500, 10) == truth.online(1_500, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["truth.ndjson"]


def test_something_else_is_no_truth(tmp_path: Path) -> None:
    path = tmp_path / "truth.ndjson"
    path.write_text('{"kind": "rumour"}\n')
    with pytest.raises(msgspec.DecodeError):
        Truth.load(path)
