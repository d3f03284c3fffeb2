"""How much work the SQLite store's questions are: by index, and no more the longer the history.

Work is counted in SQLite's own instructions, so that nothing depends on how busy the machine is.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ps2daemon.errors import StoreConflict
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.store.base import Commit, Edge
from ps2daemon.store.sqlite import keeping, reading, rows, writing
from ps2daemon.store.sqlite.schema import open_writer
from tests.contract.stores import T0, all_of, character, session

QUESTIONS = {
    name: text
    for name, text in (vars(reading) | vars(keeping)).items()
    if name.isupper() and isinstance(text, str) and "SELECT" in text and not name.startswith("_")
}
COVERED = {
    "ONLINE_AT",
    "LOGINS",
    "LOGOUTS",
    "LOGIN_EDGES",
    "LOGOUT_EDGES",
    "ENDED",
    "WORLDS",
    "ESTIMATED",
    "OPEN_SINCE",
    "UNNAMED",
    "COUNTS",
    "LATEST_END",
}
"""They read no row, only indexes."""
ABOUT_OTHERS = {
    "DAY_VERSIONS",
    "ENDING_VERSIONS",
    "ENDED_ALERTS",
    "ENDLESS",
    "ALERTS",
    "LOCKS",
    "ALERT_WORLDS",
    "LOCK_WORLDS",
    "ALERTS_BY_MONTH",
    "LOCKS_BY_MONTH",
}
"""They read neither sessions nor characters."""
# Of the sessions that are open, and of characters without a name, there are few; of the rest, one a month or so.
SCANNED = {
    "SCAN sessions USING COVERING INDEX sessions_open",
    "SCAN characters USING COVERING INDEX characters_unnamed",
}


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_writer(tmp_path / "ps2.db")) as connection:
        yield connection


def plan(connection: sqlite3.Connection, text: str) -> list[str]:
    names = set(re.findall(r":(\w+)", text))
    parameters: dict[str, int] | list[int] = dict.fromkeys(names, 1) if names else [1] * text.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]


def work(connection: sqlite3.Connection, question: Callable[[], object]) -> int:
    """How many hundred instructions a question takes."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    connection.set_progress_handler(count, 100)
    question()
    connection.set_progress_handler(None, 0)
    return counted


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_question_reads_all_sessions_or_characters(writer: sqlite3.Connection, name: str) -> None:
    steps = plan(writer, QUESTIONS[name])
    about = [step for step in steps if re.search(r"\b(sessions|characters)\b", step)]
    assert bool(about) == (name not in ABOUT_OTHERS)
    for step in about:
        assert step.startswith("SEARCH") or step in SCANNED, step
        if name in COVERED:
            assert "COVERING INDEX" in step, step


@pytest.mark.parametrize(
    ("text", "width"),
    [(writing._SESSIONS, 10), (writing._GONE_SESSIONS, 3), (writing._KNOWN_CHARACTERS, 9)],
)
def test_no_change_reads_all_sessions_or_characters(
    writer: sqlite3.Connection, text: str, width: int
) -> None:
    for step in plan(writer, writing._text(text, 2, width)):
        assert not re.search(r"SCAN (sessions|characters)", step), step


def record(connection: sqlite3.Connection, start: Ms, days: int) -> None:
    """300 sessions of an hour each day on each of two worlds; a few in each hundred are estimates, long, or without a login."""
    connection.execute(
        """
        WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :number)
        INSERT INTO sessions (character_id, world_id, faction_id, login_ts, logout_ts, started_by, ended_by, ended_after, ended_before)
        SELECT
            'c' || (n % 5000), 10 + n % 2, n % 4,
            iif(n % 100 = 7, NULL, :start + n * :apart),
            :start + n * :apart + iif(n % 1000 = 13, 40, 1) * 3600000,
            'login', iif(n % 100 = 5, 'cap', 'logout'),
            iif(n % 100 = 5, :start + n * :apart, NULL), iif(n % 100 = 5, :start + n * :apart + 43200000, NULL)
        FROM numbers
        """,
        {"number": days * 600, "start": start, "apart": DAY // 600},
    )


def test_ten_times_the_history_is_no_more_work(writer: sqlite3.Connection, tmp_path: Path) -> None:
    days = 28
    start, end = T0, T0 + days * DAY
    step = 5 * MINUTE
    questions: dict[str, Callable[[], object]] = {
        "online_at": lambda: reading.online_at(writer, start + 14 * DAY, 10),
        "changes": lambda: reading.changes(writer, start, end, step, 10),
        "ended": lambda: reading.ended(writer, start, end, 10),
        "lasting": lambda: reading.lasting(writer, end, end - DAY, 10),
        "unknown_starts": lambda: reading.unknown_starts(writer, start, end, 10),
        "worlds": lambda: reading.worlds(writer),
        "counts": lambda: reading.counts(writer),
        "login edge": lambda: reading.known_edges(writer, [Edge("c1", start, True)]),
        "logout edge": lambda: reading.known_edges(writer, [Edge("c1", start + HOUR, False)]),
        "page": lambda: reading.sessions_page(writer, (start + 14 * DAY, "", False), end, 500),
        "open_since": lambda: reading.open_since(writer, end, "", 500),
        "first_session": lambda: keeping.first_session(writer, start + DAY),
        "sessions_between": lambda: keeping.sessions_between(writer, start, end),
        "latest_end": lambda: keeping.latest_end(writer, end, 10),
        "describe": lambda: keeping.describe(writer, tmp_path / "ps2.db"),
        "gone": lambda: writing.write(writer, Commit(gone_sessions=[f"c1-{start}", "c2-5-out"])),
        "written": lambda: writing.write(writer, all_of(character("1", session(start + 1)), version=0)),
    }
    record(writer, start, days)
    before = {name: work(writer, question) for name, question in questions.items() if name != "written"}
    assert before["changes"] > before["online_at"] > 0
    record(writer, start - 5 * days * DAY, 5 * days)
    record(writer, end, 4 * days)
    after = {name: work(writer, question) for name, question in questions.items()}
    for name in before:
        assert after[name] <= 1.1 * before[name] + 1, name
    assert after["written"] < 20


def test_a_conflict_is_found_before_the_sessions_are_written(writer: sqlite3.Connection) -> None:
    commit = all_of(*(character(str(number), session(T0)) for number in range(700)))
    writing.write(writer, commit)
    whole = work(writer, lambda: writing.write(writer, Commit(sessions=commit.sessions)))

    def refused() -> None:
        with pytest.raises(StoreConflict):
            writing.write(writer, commit)

    assert work(writer, refused) < whole


class Counted(sqlite3.Connection):
    """Counts the statements that are run."""

    statements = 0

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self.statements += 1
        return super().execute(*args)


@pytest.mark.parametrize("number", [1, 2, 511, 512, 513, 1300])
def test_any_number_of_rows_goes_with_few_statements(tmp_path: Path, number: int) -> None:
    path = tmp_path / "ps2.db"
    open_writer(path).close()
    commit = all_of(*(character(f"{each}", session(T0 + each)) for each in range(number)))
    with closing(sqlite3.connect(path, isolation_level=None, factory=Counted)) as writer:
        writing.write(writer, commit)
        most = number // writing.MOST_ROWS + 9  # sizes below are the powers of two
        assert writer.statements <= 2 * most + 2, "sessions, characters, begin and commit"
        assert writer.execute("SELECT count(*) FROM sessions").fetchone() == (number,)
        ids = rows.id_list(each.document.character_id for each in commit.characters)
        loaded = reading.load_characters(writer, ids)
        by_id = {stored.document.character_id: stored.document for stored in loaded}
        assert by_id == {each.document.character_id: each.document for each in commit.characters}
