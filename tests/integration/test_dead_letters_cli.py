"""`ps2daemon queue dead-letters` as a person calls it, on a queue that is in use."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio
from click.testing import CliRunner

from bench.programs import free_port
from ps2daemon.cli import main
from ps2daemon.model.recording import parse_line
from ps2daemon.model.records import CoverageRecord, EventRecord
from ps2daemon.queue.frames import decode_frame, encode_frame
from ps2daemon.queue.sqlite import (
    RESERVE_BYTES,
    SqliteDeadLetters,
    SqliteProducer,
    peek,
    read_dead_letters,
    read_statistics,
)
from ps2daemon.stages.writer import TOO_OLD
from tests.commands import call, write_config

MAX_BYTES = 64 * 1024 * 1024
AT = 1_772_366_400_000  # 2026-03-01T12:00Z
LOGIN = EventRecord(AT, b'{"event_name":"PlayerLogin","world_id":"10","timestamp":"x"}')
REASONS = ("timestamp is no number", "no frame", TOO_OLD)
PATIENCE = 30.0
"""Seconds until a test gives up on what should take a few."""

Letter = tuple[bytes, str]


def fill(folder: Path, letters: Sequence[Letter]) -> None:
    """An empty queue with dead letters, a minute apart."""

    async def put() -> None:
        await (await SqliteProducer.open(folder, max_bytes=MAX_BYTES)).aclose()
        opened = await SqliteDeadLetters.open(folder)
        for number, (frame, reason) in enumerate(letters):
            await opened.put(frame, reason, 1, AT + number * 60_000)
        await opened.aclose()

    trio.run(put)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    coverage = CoverageRecord(1, AT, AT, "start")
    frames = (encode_frame([LOGIN]), b"\x1b[2Jtorn", encode_frame([coverage]))
    fill(tmp_path / "queue", list(zip(frames, REASONS, strict=True)))
    return write_config(tmp_path)


def letters(config: Path, *arguments: str) -> Any:
    return call(config, "queue", "dead-letters", *arguments)


def ids(config: Path) -> list[int]:
    return [letter.id for letter in read_dead_letters(config.parent / "queue", 100)]


def test_the_newest_comes_first_below_how_many_there_are_by_reason(config: Path) -> None:
    result = letters(config, "list")
    assert result.exit_code == 0
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["number", "UTC", "event", "world", "reason"]
    assert [row.split()[:5] for row in rows] == [
        ["3", "2026-03-01", "12:02", "coverage", "Osprey"],
        ["2", "2026-03-01", "12:01", "unreadable", "-"],
        ["1", "2026-03-01", "12:00", "PlayerLogin", "Wainwright"],
    ]
    assert rows[-1].endswith("timestamp is no number")
    assert rows[0].endswith("…")
    assert max(map(len, result.output.splitlines())) <= 80
    assert result.stderr.splitlines()[0] == "3 dead letters, by reason:"
    assert "      1  no frame" in result.stderr.splitlines()
    short = letters(config, "list", "--limit", "1")
    assert len(short.stdout.splitlines()) == 2
    assert "2 more: --limit 3 shows them all." in short.stderr
    assert len(letters(config, "list", "--reason", "no ").stdout.splitlines()) == 3


def test_a_list_in_json(config: Path) -> None:
    answer = msgspec.json.decode(letters(config, "list", "--json", "--limit", "2").stdout)
    assert answer["count"] == 3
    assert {each["reason"]: each["count"] for each in answer["reasons"]} == dict.fromkeys(REASONS, 1)
    assert [(each["number"], each["kind"], each["world_id"]) for each in answer["dead_letters"]] == [
        (3, "coverage", 1),
        (2, None, None),
    ]


def test_all_is_shown_and_a_terminal_obeys_none_of_it(config: Path, tmp_path: Path) -> None:
    evil = EventRecord(AT, b'{"a":"\x1b[2J"}')
    sly = EventRecord(AT, '{"a":"\x9b2J"}'.encode())
    fill(tmp_path / "queue", [(encode_frame([evil, sly]), "evil\x1b[2J"), (b"x" * 2_000, "long")])
    result = letters(config, "show", "3", "1", "2", "4", "5")
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "\x9b" not in result.output
    assert '{"a":"\\u009b2J"}' in result.stdout
    facts = dict(re.findall(r"^(number|reason|hex) +(.*)$", result.stdout, re.MULTILINE))
    assert facts["hex"] == (b"x" * 1_024).hex() + "... and 976 bytes more"
    assert TOO_OLD in result.stdout
    assert "hex       " + b"\x1b[2Jtorn".hex() in result.stdout
    assert "hex       " + evil.payload.hex() in result.stdout
    assert "reason    evil\\x1b[2J" in result.stdout
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")][:2]
    assert [parse_line(line.encode(), 1) for line in lines] == [CoverageRecord(1, AT, AT, "start"), LOGIN]
    whole = msgspec.json.decode(letters(config, "show", "4", "--json").stdout)["dead_letters"][0]
    assert parse_line(whole["lines"][0].encode(), 1) == sly
    shown = msgspec.json.decode(letters(config, "show", "1", "2", "--json").stdout)["dead_letters"]
    assert [parse_line(line.encode(), 1) for line in shown[0]["lines"]] == [LOGIN]
    assert (shown[1]["lines"], shown[1]["hex"]) == ([], [b"\x1b[2Jtorn".hex()])


def test_what_is_dropped_is_said_and_asked(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = letters(config, "drop", "1")
    assert refused.exit_code == 2
    assert "give --yes" in refused.stderr
    terminal = SimpleNamespace(isatty=lambda: True)
    with monkeypatch.context() as patch:
        patch.setattr("ps2daemon.cli.dead_letters.sys", SimpleNamespace(stdin=terminal, exit=sys.exit))
        arguments = ["--config", str(config), "queue", "dead-letters", "drop", "1"]
        asked = CliRunner().invoke(main, arguments, input="n\n")
        assert asked.exit_code == 1
        assert "timestamp is no number" in asked.stderr
        assert "There is no way back. Drop them?" in asked.stderr
        assert "Nothing was dropped." in asked.stderr
        assert ids(config) == [1, 2, 3]
        assert CliRunner().invoke(main, arguments, input="y\n").exit_code == 0
        assert ids(config) == [2, 3]
    dropped = letters(config, "drop", "3", "2", "--yes")
    assert (dropped.exit_code, dropped.stdout) == (0, "")
    assert "Numbers: 2, 3." in dropped.stderr
    assert "Dropped: 2." in dropped.stderr
    assert ids(config) == []
    nothing = letters(config, "drop", "--reason", "timestamp", "--yes")
    assert nothing.exit_code == 0
    assert "There is no dead letter whose reason contains 'timestamp'" in nothing.stderr
    empty = letters(config, "list")
    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", "There are no dead letters.\n")


def test_letters_go_back_while_a_subscriber_holds_the_queue(config: Path) -> None:
    folder = config.parent / "queue"

    async def beside() -> Any:
        producer = await SqliteProducer.open(folder, max_bytes=MAX_BYTES)
        result = await trio.to_thread.run_sync(lambda: letters(config, "requeue", "1", "3"))
        await producer.append(encode_frame([EventRecord(1, b"{}")]))
        await producer.aclose()
        return result

    result = trio.run(beside)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "1 of 2 came too late" in result.stderr
    assert "come straight back" in result.stderr
    assert "Back in the queue: 2 of 2 dead letters (records: 2)." in result.stderr
    assert ids(config) == [2]
    found = [each for item in peek(folder, 10) for each in decode_frame(item.frame)]
    assert found == [LOGIN, CoverageRecord(1, AT, AT, "start"), EventRecord(1, b"{}")]
    left = letters(config, "requeue", "--all")
    assert left.exit_code == 1
    assert "1 stay, since this ps2daemon can't read them" in left.stderr
    assert ids(config) == [2]


def test_what_can_t_be_done_is_said(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for code, arguments, why in (
        (1, ("show", "1", "9"), "there is no dead letter 9: `ps2daemon queue dead-letters list`"),
        (1, ("drop", "1", "9", "--yes"), "nothing was done"),
        (1, ("requeue", "1", "9"), "there is no dead letter 9"),
        (2, ("drop", "--yes"), "say which"),
        (2, ("requeue", "1", "--all"), "say which"),
        (2, ("requeue", "--reason", ""), "--reason is empty"),
        (2, ("list", "--reason", ""), "--reason is empty"),
        (2, ("show", "99999999999999999999"), "is not in the range"),
    ):
        result = letters(config, *arguments)
        assert result.exit_code == code, (arguments, result.output)
        assert why in result.stderr, arguments
        assert not result.stdout
    monkeypatch.setattr("ps2daemon.queue.sqlite.free_bytes", lambda folder: RESERVE_BYTES)
    full = letters(config, "requeue", "1")
    assert full.exit_code == 1
    assert "make room" in full.stderr
    assert ids(config) == [1, 2, 3]
    assert read_statistics(config.parent / "queue").records == 0
    (tmp_path / "queue" / "queue.db").unlink()
    assert letters(config, "list").exit_code == 0
    assert letters(config, "requeue", "1").exit_code == 2
    (tmp_path / "queue" / "dead-letters.db").unlink()
    for command in ("list", "show 1", "drop --all --yes"):
        result = letters(config, *command.split())
        assert result.exit_code == 2
        assert "there is no queue in" in result.stderr
    (tmp_path / "queue" / "dead-letters.db").write_bytes(b"what is this?" * 1_000)
    result = letters(config, "list")
    assert (result.exit_code, "is damaged" in result.stderr) == (2, True)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_worker_that_runs_refuses_them_again_and_none_is_lost(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    text = config.read_text().replace("[[stream]]", 'rest_url = "http://127.0.0.1:1"\n[[stream]]')
    config.write_text(f"{text}[web]\nmetrics_port = {free_port(1)}\n")
    folder = tmp_path / "queue"
    bad = [EventRecord(AT + number, b'{"event_name":"PlayerLogin"}') for number in range(50)]
    fill(folder, [(encode_frame([each]), "an older ps2daemon did not know it") for each in bad])

    def refused() -> list[str]:
        return [letter.reason for letter in read_dead_letters(folder, 100)]

    with subprocess.Popen(
        [sys.executable, "-m", "ps2daemon", "--config", str(config), "run", "worker"],
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        try:
            until((folder / "consumer.lock").exists)
            for _ in range(3):
                old = max(letter.at for letter in read_dead_letters(folder, 100))
                result = letters(config, "requeue", "--all")
                assert result.exit_code == 0, result.stderr
                until(lambda: read_statistics(folder).records == 0 and len(refused()) == 50)
                assert all(letter.at > old for letter in read_dead_letters(folder, 100))
        finally:
            worker.terminate()
            worker.communicate(timeout=PATIENCE)
    found = [each for letter in read_dead_letters(folder, 100) for each in decode_frame(letter.frame)]
    assert found == bad
    assert "an older ps2daemon did not know it" not in refused()
