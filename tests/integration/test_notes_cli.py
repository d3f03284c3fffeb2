"""`ps2daemon notes` as a person calls it, beside a store that is in use."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import msgspec
import pytest
import trio

from ps2daemon.store.base import Commit
from ps2daemon.store.sqlite import SqliteStore
from tests.commands import call, stored_config, write_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return stored_config(tmp_path, Commit())


def test_a_note_is_added_listed_and_removed(config: Path) -> None:
    result = call(
        config,
        "notes",
        "add",
        "Patch [bold]5.3[/]",
        "--at",
        "2026-03-04T15:00",
        "--tz",
        "Europe/Berlin",
        "--world",
        "wainwright",
    )
    assert (result.exit_code, result.stdout) == (0, "")
    found = re.fullmatch(
        r"Noted about Wainwright at 2026-03-04 15:00 \(Europe/Berlin\), as ([0-9a-f]{12})\.\n", result.stderr
    )
    assert found is not None, result.stderr
    assert call(config, "notes", "add", "A merge", "--at", "2026-03-01").exit_code == 0
    listed = call(config, "notes", "list")
    assert listed.exit_code == 0
    head, first, second = listed.stdout.splitlines()
    assert head.split() == ["UTC", "id", "about", "note"]
    assert "all worlds" in first
    assert second.split() == ["2026-03-04", "14:00", found[1], "Wainwright", "Patch", "[bold]5.3[/]"]
    assert call(config, "notes", "remove", found[1]).exit_code == 0
    assert len(call(config, "notes", "list").stdout.splitlines()) == 2


def test_the_same_note_is_one(config: Path) -> None:
    for _ in range(2):
        assert call(config, "notes", "add", "Patch", "--at", "2026-03-04").exit_code == 0
    answer = msgspec.json.decode(call(config, "notes", "list", "--json").stdout)
    assert [note["text"] for note in answer["notes"]] == ["Patch"]


def test_a_window_and_a_world_choose_notes(config: Path) -> None:
    call(config, "notes", "add", "one", "--at", "2026-03-01", "--world", "10")
    call(config, "notes", "add", "two", "--at", "2026-03-02", "--world", "1")
    call(config, "notes", "add", "three", "--at", "2026-03-03")

    def texts(*options: str) -> list[str]:
        result = call(config, "notes", "list", "--format", "csv", *options)
        return [row["text"] for row in csv.DictReader(io.StringIO(result.stdout))]

    assert texts() == ["one", "two", "three"]
    assert texts("--world", "10") == ["one", "three"]
    assert texts("--from", "2026-03-02", "--to", "2026-03-03") == ["two"]


def test_what_can_t_be_done_is_said(config: Path, tmp_path: Path) -> None:
    for arguments, why in (
        (("add", " "), "a note needs a text"),
        (("add", "x" * 201), "up to 200 characters"),
        (("add", "x", "--at", "yesterday"), "yesterday"),
        (("add", "x", "--world", "Nowhere"), "Nowhere"),
        (("remove", "0123456789ab"), "there is no note 0123456789ab: `ps2daemon notes list`"),
    ):
        result = call(config, "notes", *arguments)
        assert result.exit_code == 2, result.output
        assert why in result.stderr
    assert call(config, "notes", "list").stdout == "there is no note\n"
    elsewhere = write_config(tmp_path, 'path = "elsewhere.db"', "elsewhere")
    result = call(elsewhere, "notes", "add", "x")
    assert result.exit_code == 2
    assert "there is no store" in result.stderr
    assert not (tmp_path / "elsewhere.db").exists()


def test_notes_are_written_while_the_store_is_in_use(config: Path, tmp_path: Path) -> None:
    async def use() -> None:
        store = await SqliteStore.open(tmp_path / "ps2.db")
        try:
            await store.commit(Commit(records_until=5))
            result = await trio.to_thread.run_sync(call, config, "notes", "add", "Patch")
            assert result.exit_code == 0, result.stderr
            await store.commit(Commit(records_until=6))
            assert [note.text for note in await store.notes(None, None, None)] == ["Patch"]
        finally:
            await store.aclose()

    trio.run(use)
