"""What is recorded while Census's REST service does each thing that it does wrong: everything, nobody with a wrong name or empire, and nobody is taken for offline.

Each is a quarter of an hour of three worlds in virtual time, the first of them at fault, recorded by everything that a daemon has. When the fault
is over, who could not be named is named without a hand.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
import trio
from trio.testing import MockClock

from bench.kept import Kept
from bench.recorded import START, Fault
from bench.stored import recorder
from ps2daemon.model.records import MINUTE, SECOND
from ps2daemon.simulator.rest import Rest, _Refused

LONG = 300.0
"""How long the fault lasts, from the start on, in seconds."""
MINUTES = 15


class Told(NamedTuple):
    """What is stored just before the fault ends, and at the end; and what requests came to by then, by result."""

    during: Kept
    after: Kept
    results: dict[str, float]


async def told_of(patch: pytest.MonkeyPatch, *faults: str) -> Told:
    """Records with these faults, and asserts what holds for each."""
    async with recorder(patch, *(Fault(each, 0, LONG) for each in faults)) as recording:
        async with recording.running():
            await trio.sleep(LONG - 1)
            during, by_result = await recording.kept(), recording.results()
            await trio.sleep(MINUTES * MINUTE / SECOND - LONG + 1)
        after = await recording.kept()
    for kept in (during, after):
        assert not kept.lost()
        assert not kept.invented()
        assert not kept.misnamed()
        assert not kept.letters
        assert kept.by_end().keys() <= {"logout", None}, "nobody is offline by such an answer"
        assert len(kept.content.sessions) > 40
    for world_id, coverage in ((each, after.coverage(each)) for each in (1, 10, 40)):
        assert [span.start < START + 5 * SECOND for span in coverage.spans] == [True], world_id
        assert coverage.covers(after.end - 2 * MINUTE)
    check_named(after)
    return Told(during, after, by_result)


def check_named(kept: Kept) -> None:
    """Whoever is known to Census and was seen some minutes ago is named."""
    known = {who for who, each in kept.truth.characters.items() if each.first_end == 0}
    seen = {
        each.character_id
        for each in kept.content.sessions.values()
        if (each.login_ts or each.logout_ts or kept.end) < kept.end - 2 * MINUTE
    }
    assert len(known & seen) > 25
    assert not known & seen & set(kept.unnamed())


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        ("rest_redirect", "redirect"),
        ("rest_html", "malformed"),
        ("rest_status:503", "http"),
        ("rest_status:500", "http"),
        ("rest_reset", "network"),
        ("rest_trickle:31", "timeout"),
        ("rest_down", "network"),
        ("rest_error_body:service_unavailable", "error"),
        ("rest_error_body:no_data", "error"),
        ("rest_error_body:server_error", "error"),
        ("rest_error_body:bad_syntax", "refused"),
        ("rest_error_body:missing_id", "refused"),
        ("rest_error_body:unregistered_id", "refused"),
        ("rest_error_body:search_term", "refused"),
    ],
)
async def test_answers_that_are_none(
    fault: str, result: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is named by them, and Census is not hammered."""
    told = await told_of(monkeypatch, fault)
    assert set(told.during.unnamed()) == told.during.content.characters.keys()
    assert told.results.keys() == {result}
    assert 5 <= told.results[result] <= 60


async def test_one_collection_is_down(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """R13: nobody is offline because that can't be asked, and everybody is named meanwhile."""
    monkeypatch.setattr(Rest, "_online_status", _refuse)
    told = await told_of(monkeypatch)
    check_named(told.during)
    assert told.results.keys() == {"ok", "error"}


def _refuse(rest: Rest, environment: str, terms: object) -> list[object]:
    raise _Refused(error="service_unavailable")


async def test_json_that_is_called_a_web_page(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await told_of(monkeypatch, "rest_text_html")
    check_named(told.during)
    assert told.results.keys() == {"ok"}


async def test_an_answer_that_takes_long_is_an_answer(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await told_of(monkeypatch, "rest_trickle:25")
    check_named(told.during)
    assert told.results.keys() == {"ok"}


async def test_rows_in_another_order(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    check_named((await told_of(monkeypatch, "rest_reordered")).during)


async def test_an_empty_list(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that nobody is known, and of nobody that he is offline."""
    told = await told_of(monkeypatch, "rest_empty")
    assert set(told.during.unnamed()) == told.during.content.characters.keys()
    assert told.results.keys() == {"ok"}


async def test_a_list_that_lacks_rows(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are there are used, and the others asked about again."""
    told = await told_of(monkeypatch, "rest_partial:50")
    named = told.during.content.characters.keys() - set(told.during.unnamed())
    assert 0.3 < len(named) / len(told.during.content.characters) < 0.97


@pytest.mark.parametrize("fault", ["rest_nameless", "rest_null_names"])
async def test_rows_without_a_name(
    fault: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The empire is there already, the name comes later."""
    told = await told_of(monkeypatch, fault)
    characters = told.during.content.characters.values()
    assert {each.character_name for each in characters} == {None}
    known = {who for who, each in told.during.truth.characters.items() if each.first_end == 0}
    waiting = [each for each in characters if each.faction_id == 0 and each.character_id in known]
    assert len(waiting) < 3, "those of the last moments"


async def test_a_new_character_is_missing_for_its_first_session(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is recorded as anybody, and named about as long after its first session as that took."""
    async with recorder(monkeypatch, slowly=True) as recording:
        async with recording.running():
            await trio.sleep(90 * 60)
        kept = await recording.kept()
    new = {who: each for who, each in kept.truth.characters.items() if each.first_end != 0}
    sessions = {each.character_id: each for each in kept.content.sessions.values()}
    named = unnamed = 0
    for who, each in new.items():
        if who not in sessions:
            continue
        document = kept.content.characters[who]
        since = max(each.created, START)
        if each.first_end is None:
            assert document.character_name is None
            unnamed += 1
        elif kept.end - each.first_end > each.first_end - since + 4 * MINUTE:
            assert (document.character_name, document.faction_id) == (each.name, each.faction_id)
            named += 1
    assert named > 10
    assert unnamed > 5
    assert not kept.lost()
    assert not kept.invented()


async def test_rest_is_fine_while_the_stream_is_down_for_hours(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a gap, nobody is asked about who is online meanwhile, and after it everything goes on."""
    hours = 3 * 3_600
    faults = Fault("stream_down", 300, hours), Fault("reset:1", 300, 2)
    async with recorder(monkeypatch, *faults, slowly=True) as recording:
        async with recording.running():
            await trio.sleep(300 + 240)
            asked = recording.checked()
            await trio.sleep(hours - 250)
            assert recording.checked() == asked
            await trio.sleep(400)
            assert sum(recording.checked().values()) > sum(asked.values())
        kept = await recording.kept()
    assert not kept.invented()
    assert not kept.lost()
    assert not kept.misnamed()
    check_named(kept)
    for world_id in (1, 10, 40):
        ((start, end, after),) = kept.coverage(world_id).gaps(START, kept.end)
        assert start <= START + 301 * SECOND
        assert START + (300 + hours) * SECOND <= end <= START + (430 + hours) * SECOND
        assert after == "connection"
