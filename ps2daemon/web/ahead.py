"""Counting events before somebody asks for them: of a year of four worlds that takes two seconds, and afterwards a tenth of one."""

from __future__ import annotations

from datetime import UTC
from typing import Final

import trio

from ps2daemon.analysis.leaving import EffectQuery, counts, gather
from ps2daemon.errors import StoreError
from ps2daemon.model.records import DAY
from ps2daemon.store.kept import KeptReader

BACK: Final = 365 * DAY
"""The longest window that the page offers."""
AT_ONCE: Final = 7 * DAY
"""Events that are counted together, so that who comes meanwhile waits for little."""


async def count_ahead(kept: KeptReader) -> None:
    """Counts the people of the last year's events, the latest first, once the days are read and while nobody asks.

    Controls are those of UTC: other clocks have others only where summer time begins or ends. A store that can't be read is left
    alone: whoever asks is told.
    """
    await kept.warmed.wait()
    try:
        worlds = tuple(await kept.worlds())
        spans = await kept.spans(worlds)
        if not spans:
            return
        latest = max(span.end for span in spans)
        first = max(min(span.start for span in spans), latest - BACK)
        for end in range(latest, first, -AT_ONCE):
            await kept.quiet()
            query = EffectQuery(start=max(first, end - AT_ONCE), end=end, worlds=worlds, zone=UTC)
            await trio.to_thread.run_sync(counts, query, await gather(kept, query))
    except StoreError:
        return
