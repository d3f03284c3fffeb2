"""That the table of faults says so if anything is lost, doubled, invented or falsely vouched for."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import trio

from bench import answers, breakdowns, kills, strikes
from bench.comparison import compare_facts, edges_of
from bench.outcomes import Outcome, Row, failures, line, table
from bench.programs import free_port
from bench.recorded import START, UNDIALLED, Fault, Recorded
from ps2daemon.model.coverage import coverage_by_world
from ps2daemon.model.events import Logout
from ps2daemon.model.records import SECOND, CoverageRecord, EventRecord
from ps2daemon.simulator.faults.catalogue import FAULTS
from ps2daemon.simulator.faults.plan import parse_fault
from ps2daemon.simulator.payloads import payload_of
from ps2daemon.simulator.rest import Rest
from ps2daemon.simulator.truth import TrueCharacter

GOOD = Outcome([], [], [], 0.0, 100, 2.0)


@cache
def recording() -> Recorded:
    """Ten minutes, of which one is lost."""
    faults = [Fault("stream_down", 240, 60)]
    return strikes.recorded(faults, seed=3, minutes=10)


def outcome(found: Recorded) -> Outcome:
    return trio.run(strikes.compared, found, None)


def test_a_recording_that_says_what_it_does_not_know() -> None:
    found = outcome(recording())
    assert found.counts() == (0, 0, 0, 0)
    assert found.facts > 50
    assert len(recording().deaf[10]) > 60


def test_an_event_that_did_not_get_into_the_store_is_lost() -> None:
    found = recording()
    first = next(each for each in found.records if isinstance(each, EventRecord))
    without = found._replace(records=[each for each in found.records if each is not first])
    assert len(outcome(without).lost) == 1


def test_a_logout_that_nobody_made_is_invented() -> None:
    found = recording()
    stranger = EventRecord(
        START + 100 * SECOND, payload_of(Logout("5428000000000000001", 10, START + 99 * SECOND))
    )
    assert len(outcome(found._replace(records=[*found.records, stranger])).invented) == 1


def test_time_in_which_nothing_could_arrive_is_falsely_covered() -> None:
    found = recording()
    claim = CoverageRecord(10, START + 250 * SECOND, START + 260 * SECOND, "start")
    spans = [each for each in found.records if isinstance(each, CoverageRecord)]
    wrong = found._replace(coverage=coverage_by_world([*spans, claim]))
    assert outcome(wrong).falsely_covered == 10


def test_what_is_stored_twice_is_doubled() -> None:
    truth = recording().truth
    told = [edge for true in truth.sessions for edge in edges_of(true, by_sent=True)]
    stored = Counter(edge.fact for edge in told)
    stored[told[0].fact] += 1
    result = compare_facts(stored, told, {})
    assert (result.lost, len(result.doubled), result.invented) == ([], 1, [])


def test_each_fault_of_the_stream_is_tried() -> None:
    rows = strikes.rows(2)
    tried = {row.name.partition(":")[0] for row in rows}
    assert {fault.name for fault in FAULTS.values() if fault.place != "rest"} <= tried
    assert strikes.STRIKES.keys() <= FAULTS.keys()
    assert {parse_fault(text).fault.name for text in strikes.MIXED} <= tried
    assert {row.runs for row in rows} == {2}


def test_each_fault_of_rest_is_tried() -> None:
    tried = {row.name.partition(":")[0] for row in answers.rows(2)}
    assert {fault.name for fault in FAULTS.values() if fault.place == "rest"} <= tried
    assert answers.ANSWERS.keys() <= FAULTS.keys()


def test_each_fault_is_in_a_test_of_acceptance() -> None:
    """And so the table above is not all that is said of it."""
    folder = Path(__file__).parent.parent / "acceptance"
    tests = "".join(file.read_text() for file in folder.glob("test_what_*.py"))
    named = {each for each in (*FAULTS, *UNDIALLED) if re.search(rf'"{each}\b', tests)}
    always = {each.name for each in FAULTS.values() if each.from_start}
    assert {*FAULTS, *UNDIALLED} - named == always


SHORT = answers.Answering(seconds=60.0, minutes=20, to_be_noticed=True)


def test_census_that_comes_back() -> None:
    found = answers.answered(("rest_html",), SHORT, 3)
    assert found.counts() == (0, 0, 0, 0)
    assert found.facts > 100
    assert found.noticed is not None
    assert found.noticed < 60


def test_who_is_not_named_in_the_end_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "Fault", lambda text, start, seconds: Fault(text, start))
    found = answers.answered(("rest_html",), SHORT, 3)
    assert len(found.lost) > 20
    assert {each.partition(":")[0] for each in found.lost} == {"not named"}


def test_another_empire_and_an_end_that_was_none_are_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    row_of = Rest._character_row

    def of_another(rest: Rest, character: TrueCharacter) -> dict[str, Any]:
        return row_of(rest, character) | {"faction_id": str(character.faction_id % 3 + 1)}

    monkeypatch.setattr(Rest, "_character_row", of_another)
    assert len(answers.answered(("rest_reordered",), SHORT, 3).invented) > 20
    monkeypatch.setattr(Rest, "_character_row", row_of)
    monkeypatch.setattr(Rest, "_status", lambda rest, character: "0")
    found = answers.answered(("rest_reordered",), SHORT, 3)
    assert any("offline_check" in each for each in found.invented)


def test_a_clock_that_is_set_back() -> None:
    found = breakdowns.clock_set_back(3)
    assert found.counts() == (0, 0, 0, 0)
    assert found.facts > 100


def test_what_needs_a_disk_of_its_own_is_left_out_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breakdowns, "why_no_disk", lambda: "no disk can be mounted here: must be superuser")
    rows = {row.name: row for row in breakdowns.rows(5)}
    assert {name for name, row in rows.items() if row.skipped} == {
        "disk full under the queue",
        "disk full under the store",
    }
    assert line(rows["disk full under the queue"], [])[2] == "no disk can be mounted here: must be superuser"
    assert {row.runs for row in rows.values()} == {2, 5}


def test_kills_are_shared_among_victims_and_stores() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    rows = kills.rows(201, url)
    assert sum(row.times for row in rows) == 201
    assert [row.skipped is None for row in rows] == [True] * 4 + [False] * 4
    assert line(rows[-1], [])[2].startswith(f"no Elasticsearch at {url}: ")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (GOOD, None),
        (GOOD._replace(lost=["a login"]), "lost: a login"),
        (GOOD._replace(doubled=["a logout"]), "doubled: a logout"),
        (GOOD._replace(invented=["a lock"]), "invented: a lock"),
        (GOOD._replace(falsely_covered=2.5), "2.5 s falsely covered"),
        (GOOD._replace(noticed=None), "not noticed"),
        (GOOD._replace(facts=0), "nothing was recorded, and so nothing tried"),
    ],
)
def test_whatever_is_wrong_is_said_with_the_seed(wrong: Outcome, said: str | None) -> None:
    row = Row("reset", partial(strikes.struck, "reset", strikes.Strike()), 2, to_be_noticed=True)
    assert failures(row, {7: GOOD, 8: wrong}) == ([] if said is None else [f"reset, seed 8: {said}"])


def test_the_table_adds_up() -> None:
    row = Row("SIGKILL", partial(strikes.struck, "reset", strikes.Strike()), 2, 5, to_be_noticed=True)
    wrong = GOOD._replace(lost=["a", "b"], falsely_covered=1.5, noticed=4.0)
    away = Row(
        "SIGKILL elsewhere", row.run, 1, 0, skipped="no Elasticsearch at all, wherever it was looked for"
    )
    assert table([line(row, [GOOD, wrong]), line(away, [])]).splitlines() == [
        "fault             | times |   noticed after | lost | doubled | invented | falsely covered s",
        "----------------- | ----- | --------------- | ---- | ------- | -------- | -----------------",
        "SIGKILL           |    10 | 3.0 s (max 4.0) |    2 |       0 |        0 |               1.5",
        "SIGKILL elsewhere |     0 | no Elasticsearch at all, wherever it was looked for",
    ]
