"""`effect` as a person calls it on a real store, and as the API answers it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from click.testing import Result

from ps2daemon.analysis.documents import EFFECT_FIELDS
from ps2daemon.analysis.matching import WEEKS
from ps2daemon.model.alerts import derive
from ps2daemon.model.coverage import Span
from ps2daemon.model.events import ENDED, STARTED, Metagame
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.model.times import iso, parse_iso
from ps2daemon.store.base import Commit, SessionDocument
from ps2daemon.web.app import page_app
from ps2daemon.web.bundle import charts_installed
from tests import commands
from tests.commands import stored_config
from tests.memory_reader import MemoryReader, session
from tests.pages import FixedClock

AT = parse_iso("2026-03-18T20:00:00Z")
WEEK = 7 * DAY
WORLD = 10
DAYS = 12
"""An alert ends at the same time of so many days; of six people on each side of the war two go within five minutes, and otherwise one in an hour."""


def people(at: Ms, leavers: int) -> Iterator[SessionDocument]:
    for faction_id in (1, 2, 3):
        for number in range(6):
            minutes = 3 + number if number < leavers else 50 + number
            yield session(
                f"{faction_id}{number}",
                at - HOUR,
                at + minutes * MINUTE,
                world_id=WORLD,
                faction_id=faction_id,
            )


def alert(at: Ms, number: int) -> list[Metagame]:
    changes = ((at - HOUR, STARTED), (at, ENDED))
    return [Metagame(WORLD, number, 147, state, when, 2, 50.0, 30.0, 20.0) for when, state in changes]


def stored() -> MemoryReader:
    ends = [AT + number * DAY for number in range(DAYS) if number < 7]
    ends += [AT - 5 * WEEK + number * DAY for number in range(DAYS - 7)]
    sessions: list[SessionDocument] = []
    for end in ends:
        for week in range(-WEEKS, WEEKS + 1):
            at = end + week * WEEK
            if at in ends and week:
                continue
            sessions += people(at, 2 if week == 0 else 0)
    unique = {each.session_id: each for each in sessions}
    alerts, locks = derive(
        [change for number, end in enumerate(ends) for change in alert(end, number + 1)], (), AT + 100 * DAY
    )
    span = Span(WORLD, AT - 12 * WEEK, AT + 12 * WEEK, "start")
    return MemoryReader(unique.values(), [span], alerts.values(), locks.values())


READER = stored()
WINDOW = ("--from", iso(AT - 8 * WEEK), "--to", iso(AT + 2 * WEEK))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_config(
        tmp_path_factory.mktemp("effect"),
        Commit(sessions=READER.sessions, alerts=READER.stored_alerts, spans=READER.stored_spans),
    )


def call(config: Path, *arguments: str) -> Result:
    return commands.call(config, "effect", *WINDOW, *arguments)


def test_json_is_to_the_letter(config: Path) -> None:
    result = call(config, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = msgspec.json.decode(result.stdout)
    assert list(answer) == ["effects"]
    assert [(row["event"], row["group"], row["minutes"]) for row in answer["effects"]] == [
        (event, group, minutes)
        for event in ("alert_end", "alert_end_and_lock", "lock")
        for group in ("all", "winner", "loser")
        for minutes in (5, 15, 30)
    ]
    for row in answer["effects"]:
        assert tuple(row) == EFFECT_FIELDS
    assert answer["effects"][0] == {
        "event": "alert_end",
        "group": "all",
        "minutes": 5,
        "n": DAYS,
        "left_out": 0,
        "share": 0.3333,
        "control_share": 0.0,
        "difference": 0.3333,
        "low": 0.3333,
        "high": 0.3333,
        "verdict": "more",
    }
    assert answer["effects"][-1] == {
        "event": "lock",
        "group": "loser",
        "minutes": 30,
        "n": 0,
        "left_out": 0,
        "share": None,
        "control_share": None,
        "difference": None,
        "low": None,
        "high": None,
        "verdict": "too few events",
    }


def test_told_apart_each_row_says_what_it_is_of(config: Path) -> None:
    rows = msgspec.json.decode(call(config, "--by", "ended", "--json").stdout)["effects"]
    assert {row["of"] for row in rows} == {None, "domination"}
    assert all(tuple(row) == ("of", *EFFECT_FIELDS) for row in rows)


def test_csv_has_everybody_else_too(config: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(call(config, "--format", "csv", "--by", "world").stdout)))
    assert {row["group"] for row in rows} == {"all", "winner", "loser", "nso"}
    assert {row["of"] for row in rows} == {"", "Wainwright"}
    assert rows[0]["people"] == str(DAYS * 18)


def test_a_person_reads_a_table(config: Path) -> None:
    text = call(config).stdout
    assert f"An alert ends: {DAYS} in this window\n" in text
    (line,) = (line for line in text.splitlines() if line.startswith(" everybody"))
    assert line.split() == [
        "everybody",
        "5",
        "min",
        "12",
        "216",
        "33.3",
        "%",
        "0.0",
        "%",
        "+33.3",
        "+33.3",
        "to",
        "+33.3",
        "more",
    ]
    assert "A continent locks without an alert: none in this window\n" in text
    (events,) = (line for line in text.splitlines() if line.startswith("  events "))
    assert events.endswith("100 % → 100 % → 0 %")


@pytest.mark.parametrize("columns", [80, 109, 110])
def test_a_terminal_cuts_nothing_short(config: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ps2daemon.cli.tables.PLAIN_WIDTH", columns)
    text = call(config, "--by", "world").stdout
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= columns
    whole, *_ = (line.split() for line in text.splitlines() if line.strip().startswith("everybody"))
    assert whole[3:] == [
        "12",
        *(["216"] if columns >= 110 else []),
        *["33.3", "%", "0.0", "%", "+33.3", "+33.3", "to", "+33.3", "more"],
    ]
    assert text.count("→ 100 % → 0 %\n") == 4, "two curves of all, and two of the world"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", "2020-01-01"), "the window is reversed: let --to be later than --from"),
        (("--from", "2020-01-01"), "the window is too long: at most 400 days of events"),
        (("--world", "2"), "'2' is no world"),
    ],
)
def test_what_can_not_be_answered_is_one_line(config: Path, arguments: tuple[str, ...], words: str) -> None:
    result = call(config, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


async def test_the_api_draws_them() -> None:
    transport = httpx.ASGITransport(app=page_app(READER, FixedClock(AT + 8 * WEEK)))
    async with httpx.AsyncClient(transport=transport, base_url="http://page.test") as client:
        window = {"from": WINDOW[1], "to": WINDOW[3], "theme": "dark"}
        kinds = (await client.get("/api/v1/effect/charts", params=window)).json()["kinds"]
    assert [kind["event"] for kind in kinds] == ["alert_end", "alert_end_and_lock", "lock"]
    first, second, _ = kinds
    assert (first["title"], first["count"]) == ("An alert ends", f"{DAYS} in this window")
    assert len(first["curve"]["data"]["values"]) == 91
    assert {row["group"] for row in first["difference"]["data"]["values"]} == {
        "everybody",
        "the winner’s",
        "the losers’",
    }
    assert (second["count"], second["curve"], second["difference"], second["effects"]) == (
        "none in this window",
        None,
        None,
        [],
    )


@pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed")
async def test_the_charts_are_specs_that_can_be_drawn() -> None:
    import vl_convert

    transport = httpx.ASGITransport(app=page_app(READER, FixedClock(AT + 8 * WEEK)))
    async with httpx.AsyncClient(transport=transport, base_url="http://page.test") as client:
        window = {"from": WINDOW[1], "to": WINDOW[3]}
        (first, *_) = (await client.get("/api/v1/effect/charts", params=window)).json()["kinds"]
    for name in ("curve", "difference"):
        svg = vl_convert.vegalite_to_svg({**first[name], "width": 400, "autosize": "pad"})
        assert "minutes after it" in svg or "percentage points" in svg


async def test_alerts_over_http_have_the_people_if_that_is_asked_for() -> None:
    transport = httpx.ASGITransport(app=page_app(READER, FixedClock(AT + 8 * WEEK)))
    async with httpx.AsyncClient(transport=transport, base_url="http://page.test") as client:
        window = {"from": iso(AT - HOUR), "to": iso(AT + MINUTE), "step": "1h"}
        (plain,) = (await client.get("/api/v1/alerts", params=window)).json()["alerts"]
        (alert,) = (await client.get("/api/v1/alerts", params={**window, "people": "yes"})).json()["alerts"]
    assert "people" not in plain
    assert (alert["people_at_start"], alert["people_at_end"], alert["people_later"]) == (18, 18, 12)
    assert alert["people_from"] == iso(AT - HOUR - 30 * MINUTE)
    assert len(alert["people"]) == 31


@pytest.fixture
def told(config: Path) -> list[dict[str, object]]:
    """What the command says."""
    rows: list[dict[str, object]] = msgspec.json.decode(call(config, "--json").stdout)["effects"]
    return rows


async def test_the_api_answers_the_same_with_the_events(told: list[dict[str, object]]) -> None:
    transport = httpx.ASGITransport(app=page_app(READER, FixedClock(AT + 8 * WEEK)))
    async with httpx.AsyncClient(transport=transport, base_url="http://page.test") as client:
        window = {"from": WINDOW[1], "to": WINDOW[3]}
        body = (await client.get("/api/v1/effect", params=window)).json()
        assert (await client.get("/api/v1/effect", params={"by": "colour"})).status_code == 400
    assert [
        {name: row[name] for name in EFFECT_FIELDS} for row in body["effects"] if row["group"] != "nso"
    ] == told
    assert len(body["events"]) == DAYS
    first = body["events"][0]
    assert (first["at"], first["winner"], first["left_out"]) == (iso(AT - 5 * WEEK), 1, None)
    assert len(first["controls"]) >= WEEKS
    (curve,) = body["curves"]
    assert (curve["event"], curve["n"], len(curve["events"])) == ("alert_end", DAYS, 91)
    assert curve["events"][30] == curve["controls"][30] == 1.0
