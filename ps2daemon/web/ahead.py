"""Counting events before somebody asks for them: of a year of four worlds that takes twelve seconds, and afterwards a tenth of one."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import trio

from ps2daemon.analysis.counting import count
from ps2daemon.analysis.effect import measure
from ps2daemon.analysis.leaving import EffectQuery, Facts, gather, matches
from ps2daemon.analysis.matching import Matches
from ps2daemon.errors import StoreError
from ps2daemon.model.records import DAY
from ps2daemon.store.kept import KeptReader

BACK: Final = 365 * DAY
"""The longest window that the page offers."""
ZONES: Final = (ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"))
"""One of each rule for summer time that most viewers' clocks follow."""
AT_ONCE: Final = 300
"""Events that are counted together, a week's of four worlds, so that who comes meanwhile waits for little."""


async def count_ahead(kept: KeptReader) -> None:
    """Counts the people of the last year's events, the latest first, once the days are read and while nobody asks.

    Controls are the same time of other weeks by the viewer's clock, and so, near a change of summer time, others in Europe, in America and where there is none.
    A store that can't be read is left alone: whoever asks is told.
    """
    await kept.warmed.wait()
    try:
        worlds = tuple(await kept.worlds())
        spans = await kept.spans(worlds)
        latest = max((span.end for span in spans), default=0)
        first = max(min((span.start for span in spans), default=0), latest - BACK)
        if first >= latest:  # pruned to its end, a store has a span of no length
            return
        query = EffectQuery(start=first, end=latest, worlds=worlds, zone=ZONES[0])
        await kept.quiet()
        facts = await gather(kept, query)
        counted: Matches | None = None
        for zone in ZONES:
            of_zone = msgspec.structs.replace(query, zone=zone)
            matched = await trio.to_thread.run_sync(matches, of_zone, facts)
            new = matched if counted is None else matched.others_than(counted)
            counted = matched if counted is None else counted
            for behind in range(len(new.events), 0, -AT_ONCE):
                await kept.quiet()
                part = new.of(range(max(0, behind - AT_ONCE), behind))
                await trio.to_thread.run_sync(count, part, facts.parts)
            await kept.quiet()
            await trio.to_thread.run_sync(_answer, matched, facts, zone)
    except StoreError:
        return


def _answer(matched: Matches, facts: Facts, zone: ZoneInfo) -> None:
    """Which days a bootstrap draws is kept as well, for windows of as many days with events."""
    measure(matched, count(matched, facts.parts), zone)
