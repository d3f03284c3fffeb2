"""How `serve` waits for a store that is being made, wherever that is."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from ps2daemon.cli import serve
from ps2daemon.config import ElasticsearchSettings, StoreSettings
from ps2daemon.errors import StoreMismatch, StoreMissing
from ps2daemon.store.base import StoreSource

SETTINGS = StoreSettings(
    kind="elasticsearch", path=Path("nowhere.db"), elasticsearch=ElasticsearchSettings(urls=("http://x",))
)
READER = cast(StoreSource, object())


def opening(monkeypatch: pytest.MonkeyPatch, *errors: Exception, forever: bool = False) -> None:
    """Opening fails like this, one error a time, and then does not; or goes on with the last one."""
    left = list(errors)

    async def open_reader(settings: StoreSettings) -> StoreSource:
        assert settings is SETTINGS
        await trio.lowlevel.checkpoint()
        if left:
            raise left[0] if forever else left.pop(0)
        return READER

    monkeypatch.setattr("ps2daemon.daemon.open_reader", open_reader)


async def test_a_store_that_is_there_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    opening(monkeypatch)
    assert await serve._open(SETTINGS) is READER
    assert trio.current_time() == 0.0


async def test_a_store_that_is_being_made_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    opening(monkeypatch, *(StoreMissing("none yet") for _ in range(7)))
    assert await serve._open(SETTINGS) is READER
    assert trio.current_time() == pytest.approx(7 * serve.POLL_SECONDS)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(StoreMissing("none yet"), serve.STORE_SECONDS), (StoreMismatch("a strange one"), 0.0)],
)
async def test_what_nobody_makes_is_an_error(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, error: StoreMismatch, seconds: float
) -> None:
    opening(monkeypatch, error, forever=True)
    with pytest.raises(StoreMismatch, match=str(error)):
        await serve._open(SETTINGS)
    assert trio.current_time() == pytest.approx(seconds, abs=serve.POLL_SECONDS)
