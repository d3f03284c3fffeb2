"""What a simulated population is made of: its settings, and the shape of each world's day and week.

Peaks and hours follow public counts of June 2025 (Osprey 164 and Wainwright 848 on a Wednesday at 17:40 UTC) and the
hours at which alerts start, by region.
"""

from __future__ import annotations

import math
from functools import lru_cache
from random import Random
from typing import Final

import msgspec

from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.records import DAY, HOUR, Ms

DEFAULT_WORLDS: Final = (1, 10, 40)
MAX_SCALE: Final = 100.0

_WEEKDAYS: Final = (1.0, 0.96, 0.97, 1.0, 1.07, 1.17, 1.2)
"""Monday to Sunday."""
_DAILY_NOISE: Final = 0.035
"""Standard deviation of a day's own factor: the weather, a patch, a holiday."""
_DRIFT: Final = 0.06
_DRIFT_DAYS: Final = 45.0
_SHARE_DRIFT: Final = 0.025
_SHARE_DRIFT_DAYS: Final = 11.0


class PopulationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a timeline depends on.

    Attributes:
        seed: one seed, one history.
        scale: multiplies every world's population.
        alert_leave: the extra share of those online on a world when an alert ends there (cancelled ones don't count) who
            log off because of it, after a time that is exponential with a mean of `LEAVE_MEAN_SECONDS`.
        lock_leave: the same when a continent locks. An alert that ends with a lock causes both.
        loser_leave: added to `alert_leave` for the empires that did not win.
    """

    seed: int = 1
    worlds: tuple[int, ...] = DEFAULT_WORLDS
    scale: float = 1.0
    alert_leave: float = 0.05
    lock_leave: float = 0.03
    loser_leave: float = 0.0

    def __post_init__(self) -> None:
        if not self.worlds or len(set(self.worlds)) != len(self.worlds):
            raise UsageError("a simulation needs at least one world, and each once")
        for world_id in self.worlds:
            if world_id not in tables.worlds():
                known = ", ".join(map(str, tables.worlds()))
                raise UsageError(f"{world_id} is no world; known ones are {known}")
        if not 0.0 < self.scale <= MAX_SCALE:
            raise UsageError(f"the scale is {self.scale:g}, not above 0 and at most {MAX_SCALE:g}")
        for name in ("alert_leave", "lock_leave", "loser_leave"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name} is {getattr(self, name):g}, not a share from 0 to 1")


LEAVE_MEAN_SECONDS: Final = 240.0


class WorldShape(msgspec.Struct, frozen=True):
    """A world's rhythm.

    Attributes:
        peak: people online at the busiest hour of a plain weekday.
        hours: by hour of UTC, as a share of the peak.
        utc_offset: hours from UTC to where its people live, for the day of the week.
        shares: of VS, NC, TR and NSO among those who log in; they add up to 1.
    """

    peak: float
    hours: tuple[float, ...]
    utc_offset: int
    shares: tuple[float, float, float, float]


_EUROPE: Final = (
    0.47, 0.35, 0.26, 0.20, 0.18, 0.18, 0.20, 0.24, 0.29, 0.35, 0.41, 0.47,
    0.53, 0.58, 0.62, 0.68, 0.76, 0.86, 0.95, 1.00, 0.99, 0.90, 0.76, 0.61,
)  # fmt: skip
_AMERICA: Final = (
    0.93, 0.98, 1.00, 0.96, 0.87, 0.74, 0.60, 0.47, 0.36, 0.28, 0.23, 0.21,
    0.22, 0.25, 0.29, 0.33, 0.37, 0.40, 0.45, 0.53, 0.62, 0.71, 0.80, 0.88,
)  # fmt: skip
_ASIA: Final = (
    0.30, 0.34, 0.39, 0.45, 0.51, 0.56, 0.61, 0.67, 0.74, 0.82, 0.91, 0.98,
    1.00, 0.95, 0.82, 0.62, 0.38, 0.20, 0.11, 0.09, 0.10, 0.14, 0.19, 0.25,
)  # fmt: skip

_SHAPES: Final = {
    1: WorldShape(400.0, _AMERICA, -6, (0.32, 0.345, 0.30, 0.035)),
    10: WorldShape(848.0, _EUROPE, 1, (0.33, 0.315, 0.325, 0.03)),
    19: WorldShape(3.0, _EUROPE, 1, (0.33, 0.33, 0.33, 0.01)),
    40: WorldShape(100.0, _ASIA, 8, (0.37, 0.29, 0.30, 0.04)),
    1000: WorldShape(150.0, _AMERICA, -6, (0.33, 0.32, 0.31, 0.04)),
    2000: WorldShape(110.0, _EUROPE, 1, (0.32, 0.33, 0.31, 0.04)),
}
_OTHER: Final = WorldShape(120.0, _EUROPE, 1, (0.325, 0.325, 0.32, 0.03))


def shape_of(world_id: int) -> WorldShape:
    """A world's rhythm; worlds that nobody plays on any more get a small European one."""
    return _SHAPES.get(world_id, _OTHER)


def level(settings: PopulationSettings, world_id: int, at: Ms) -> float:
    """How many people are about to be online on a world at `at`, on average."""
    shape = shape_of(world_id)
    hour, part = divmod(at % DAY, HOUR)
    share = part / HOUR
    within = shape.hours[hour] * (1.0 - share) + shape.hours[(hour + 1) % 24] * share
    local = at + shape.utc_offset * HOUR
    weekday = _WEEKDAYS[(local // DAY + 3) % 7]  # 1970-01-01 was a Thursday
    factor = _day_factor(settings.seed, world_id, local // DAY)
    return shape.peak * settings.scale * within * weekday * factor


def faction_shares(settings: PopulationSettings, world_id: int, at: Ms) -> tuple[float, float, float, float]:
    """The shares of VS, NC, TR and NSO among those who log in at `at`; they add up to 1 and drift over days."""
    phase = _phase(settings.seed, world_id)
    turn = math.tau * at / (DAY * _SHARE_DRIFT_DAYS) + phase
    vs, nc, tr, nso = shape_of(world_id).shares
    first, second = _SHARE_DRIFT * math.sin(turn), _SHARE_DRIFT * math.sin(0.61 * turn + phase)
    return vs + first, nc - first + second, tr - second, nso


@lru_cache(maxsize=4096)
def _day_factor(seed: int, world_id: int, day: int) -> float:
    noise = Random(f"{seed}/day/{world_id}/{day}").gauss(1.0, _DAILY_NOISE)
    drift = 1.0 + _DRIFT * math.sin(math.tau * day / _DRIFT_DAYS + _phase(seed, world_id))
    return max(0.5, noise) * drift


@lru_cache(maxsize=256)
def _phase(seed: int, world_id: int) -> float:
    return Random(f"{seed}/phase/{world_id}").uniform(0.0, math.tau)
