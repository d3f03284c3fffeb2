"""People over time as programs read them (see `documents`): a window, alone or with what is laid over it, in whatever terms it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import msgspec

from ps2daemon.analysis.documents import Document, rounded, rounded_number
from ps2daemon.analysis.overlay import Curve, Overlay, differences, ratios
from ps2daemon.analysis.population import Population
from ps2daemon.analysis.view import ALL, PLAIN, Terms
from ps2daemon.model.records import SECOND
from ps2daemon.model.times import iso

if TYPE_CHECKING:
    from ps2daemon.analysis import answers


def population_answer(answer: Population, terms: Terms = PLAIN) -> answers.PopulationAnswer:
    """`{"step_s": 300, "times": […], "series": [{"world_id": 10, "faction_id": 1, "online": [212, 215, null]}]}`.

    All empires together are the faction null. Other units than people, and NSO that are not apart, are said.

    Raises:
        UsageError: no series is left in these terms.
    """
    return _population(answer, terms.curves(answer.series), terms)


def _population(answer: Population, curves: Sequence[Curve], terms: Terms) -> answers.PopulationAnswer:
    found: answers.PopulationAnswer = {
        "step_s": answer.step // SECOND,
        "times": [iso(at) for at in answer.times],
        "series": [_series(curve) for curve in curves],
    }
    unit, nso = terms.mixing
    if unit != "people":
        found["unit"] = unit
    if nso != "apart":
        found["nso"] = nso
    return found


def _series(curve: Curve) -> answers.SeriesRow:
    return {
        "world_id": curve.world_id,
        "faction_id": _empire(curve.faction_id),
        "online": _measured(curve.online),
    }


def _measured(values: Sequence[float | None]) -> Sequence[float | None]:
    """Fractions with no more digits than anybody reads; whole numbers as they are."""
    if not any(isinstance(value, float) for value in values):
        return values
    return [rounded_number(value) for value in values]


def _empire(faction_id: int) -> int | None:
    return None if faction_id == ALL else faction_id


def overlay_answer(answer: Overlay, terms: Terms = PLAIN) -> answers.OverlayAnswer:
    """The window like `population_answer`, and each earlier period with its own times, differences and ratios by bucket.

    `comparisons` are over the buckets covered in both, `trends` over those covered in every period.

    Raises:
        UsageError: no series is left in these terms.
    """
    laid = terms.laid(answer)
    return {
        **_population(answer.current, laid.now, terms),
        "by": answer.by,
        "time_zone": answer.time_zone,
        "earlier": [
            {
                "back": earlier.back,
                "times": [None if at is None else iso(at) for at in earlier.times],
                "series": [
                    {
                        **_series(then),
                        "difference": _measured(differences(now.online, then.online)),
                        "ratio": _measured(ratios(now.online, then.online)),
                    }
                    for now, then in zip(laid.now, laid.earlier[earlier.back], strict=True)
                ],
            }
            for earlier in answer.earlier
        ],
        "comparisons": cast("list[answers.ComparisonRow]", _of_empires(laid.comparisons)),
        "trends": cast("list[answers.SlopeRow]", _of_empires(laid.trends)),
    }


def _of_empires(rows: Sequence[msgspec.Struct]) -> list[Document]:
    return [row | {"faction_id": _empire(row["faction_id"])} for row in rounded(rows)]
