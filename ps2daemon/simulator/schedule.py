"""When alerts start and end and continents lock on one world: endless, in order, and made as far as somebody asks.

Figures are those of 3,899 alerts of one world in 451 days: 8.6 a day, 76 % of them of 90 minutes and 24 % of 45, 8 % starting
while another runs; `ended` comes one second after the nominal end, or earlier where one empire takes everything.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from functools import lru_cache
from random import Random
from typing import Final

import msgspec

from ps2daemon.model import tables
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, Ms
from ps2daemon.simulator.settings import PopulationSettings, faction_shares, level, shape_of
from ps2daemon.simulator.truth import Shares, TrueAlert, TrueLock

_LONG_SHARE: Final = 0.76
_OVERLAP_SHARE: Final = 0.08
_SIDE_SHARE: Final = 0.25
"""Of territory alerts during which something that locks nothing runs as well: an anomaly, a carrier, maximum pressure."""
_DOMINATED_SHARE: Final = 0.12
_LOCK_SHARE: Final = 0.8
"""Of territory alerts that end with the continent locked."""
_LONE_LOCK_SHARE: Final = 0.06
"""Of pauses between alerts in which a continent locks without one."""
_SHORTEST_PAUSE: Final = 12 * MINUTE
_MEAN_PAUSE: Final = 82 * MINUTE
"""Between an alert's end and the next one's start, beyond the shortest; chosen so that 8.6 a day come out."""
_REOPENS: Final = 3 * HOUR
_CONTINENTS: Final = (2, 4, 6, 8, 344)
_TERRITORY: Final = 9  # Census's type of the alerts that are about territory
_SIDES: Final = frozenset({228, 229, 230, 231, 232, 198, 199, 200, 201, 233, 242, 243, 244, 245, 246})
_CARRIERS: Final = frozenset({242, 243, 244, 245, 246})
_EMPIRES: Final = (tables.VS, tables.NC, tables.TR)


class Effect(msgspec.Struct, frozen=True):
    """At `at`, everybody online leaves with this probability.

    Attributes:
        winner, loser_share: those of another empire than the winner leave with `share + loser_share`.
    """

    at: Ms
    share: float
    winner: int | None = None
    loser_share: float = 0.0

    def probability(self, faction_id: int) -> float:
        lost = self.winner is not None and faction_id in _EMPIRES and faction_id != self.winner
        return self.share + self.loser_share if lost else self.share


class Schedule:
    """The alerts and locks of one world from `origin` on.

    Attributes:
        alerts, locks: in the order of their start, as far as they are made.
        effects, effect_times: in order; what happens before the time given to `reach` is complete.
    """

    def __init__(self, settings: PopulationSettings, world_id: int, origin: Ms) -> None:
        self._settings = settings
        self._world_id = world_id
        self._random = Random(f"{settings.seed}/alerts/{world_id}")
        self._instance_id = self._random.randrange(10_000, 40_000)
        self._next = origin + int(self._random.uniform(0, 3 * HOUR)) // SECOND * SECOND
        self._locked: dict[int, Ms] = {}
        self._owner: dict[int, int] = {}
        self.alerts: list[TrueAlert] = []
        self.locks: list[TrueLock] = []
        self.effects: list[Effect] = []
        self.effect_times: list[Ms] = []

    def reach(self, until: Ms) -> None:
        """Makes everything that happens before `until`."""
        while self._next <= until + MINUTE:  # a lock may come seconds before its alert's end, never a minute
            self._territory_alert(self._next)

    def alerts_from(self, since: Ms) -> Iterator[TrueAlert]:
        """Those that start at `since` or later, as far as they are made."""
        yield from self.alerts[bisect_left(self.alerts, since, key=lambda alert: alert.start) :]

    def _territory_alert(self, start: Ms) -> None:
        random = self._random
        zone_id, kind = self._kind(start, busy=())
        group = [(start, zone_id, kind)]
        length = kind.duration(start)
        if random.random() < _OVERLAP_SHARE:
            at = start + _whole(random.uniform(0.1, 0.9) * length)
            group.append((at, *self._kind(at, busy=(zone_id,))))
        if random.random() < _SIDE_SHARE:
            at = start + _whole(random.uniform(0.05, 0.8) * length)
            side = tables.metagame_events()[random.choice(sorted(_SIDES))]
            group.append((at, side.zone_id or zone_id, side))
        end = start
        for at, zone, what in sorted(group, key=lambda entry: entry[0]):
            end = max(end, self._alert(at, zone, what))
        pause = random.expovariate(1.0) * _MEAN_PAUSE * self._quietness(end)
        self._next = end + _SHORTEST_PAUSE + _whole(pause)
        if random.random() < _LONE_LOCK_SHARE:
            lone = end + 5 * MINUTE + _whole(random.uniform(0.1, 0.5) * (self._next - end))
            free = [zone for zone in _CONTINENTS if self._locked.get(zone, 0) <= lone] or list(_CONTINENTS)
            self._lock(lone, random.choice(free), self._winner(lone), None)

    def _kind(self, at: Ms, busy: Sequence[int]) -> tuple[int, tables.MetagameEvent]:
        long = self._random.random() < _LONG_SHARE
        kinds = [kind for kind in _territory_kinds() if (kind.duration(at) > HOUR) == long]
        zones = sorted({kind.zone_id for kind in kinds if kind.zone_id is not None})
        free = [zone for zone in zones if zone not in busy and self._locked.get(zone, 0) <= at]
        zone_id = self._random.choice(free or zones)
        return zone_id, self._random.choice([kind for kind in kinds if kind.zone_id == zone_id])

    def _alert(self, start: Ms, zone_id: int, kind: tables.MetagameEvent) -> Ms:
        random = self._random
        self._instance_id += random.randrange(1, 9)
        territory = kind.type == _TERRITORY
        canceled = kind.metagame_event_id in _CARRIERS and random.random() < 0.7
        dominated = territory and random.random() < _DOMINATED_SHARE
        length = kind.duration(start) + SECOND
        if dominated or canceled:
            length = _whole(random.uniform(0.35, 0.95) * length)
        end = start + length
        winner = None if canceled else self._winner(end)
        lock_at = None
        if territory and random.random() < _LOCK_SHARE:
            lock_at = end + random.randrange(-2, 6) * SECOND
        alert = TrueAlert(
            world_id=self._world_id,
            instance_id=self._instance_id,
            metagame_event_id=kind.metagame_event_id,
            zone_id=zone_id,
            start=start,
            end=end,
            canceled=canceled,
            dominated=dominated,
            winner=winner,
            territory_start=self._territory(None, 33.0),
            territory_end=self._territory(
                winner, random.uniform(88, 95) if dominated else random.uniform(37, 58)
            ),
            lock_at=lock_at,
        )
        insort(self.alerts, alert, key=lambda other: other.start)
        if winner is not None:
            settings = self._settings
            self._effect(Effect(end, settings.alert_leave, winner, settings.loser_leave))
        if lock_at is not None and winner is not None:
            self._lock(lock_at, zone_id, winner, self._instance_id)
        return end

    def _lock(self, at: Ms, zone_id: int, winner: int, instance_id: int | None) -> None:
        shares = [
            share * self._random.uniform(0.9, 1.1)
            for share in faction_shares(self._settings, self._world_id, at)[:3]
        ]
        first, second = (round(100 * share / sum(shares)) for share in shares[:2])
        lock = TrueLock(
            world_id=self._world_id,
            zone_id=zone_id,
            at=at,
            winner=winner,
            previous_winner=self._owner.get(zone_id, 0),
            population=(float(first), float(second), float(100 - first - second)),
            instance_id=instance_id,
        )
        insort(self.locks, lock, key=lambda other: other.at)
        self._owner[zone_id] = winner
        self._locked[zone_id] = at + _REOPENS
        self._effect(Effect(at, self._settings.lock_leave))

    def _effect(self, effect: Effect) -> None:
        insort(self.effects, effect, key=lambda other: other.at)
        insort(self.effect_times, effect.at)

    def _winner(self, at: Ms) -> int:
        shares = faction_shares(self._settings, self._world_id, at)[:3]
        return self._random.choices(_EMPIRES, shares)[0]

    def _territory(self, winner: int | None, share: float) -> Shares:
        """Percent of VS, NC and TR: the winner's is `share` and the largest, and a little belongs to nobody."""
        if winner is None:
            ahead, share = self._random.choice(_EMPIRES), self._random.uniform(30.0, 38.0)
        else:
            ahead = winner
        rest = 99.6 - share
        part = rest * self._random.uniform(0.42, 0.58)
        others = iter((part, rest - part))
        vs, nc, tr = (round(share if empire == ahead else next(others), 6) for empire in _EMPIRES)
        return vs, nc, tr

    def _quietness(self, at: Ms) -> float:
        """How much longer pauses are at `at` than on average: alerts are triggered by people."""
        shape = shape_of(self._world_id)
        usual = shape.peak * self._settings.scale * sum(shape.hours) / len(shape.hours)
        return min(2.2, max(0.5, usual / level(self._settings, self._world_id, at)))


@lru_cache(maxsize=1)
def _territory_kinds() -> tuple[tables.MetagameEvent, ...]:
    kinds = tables.metagame_events().values()
    return tuple(
        kind for kind in kinds if kind.type == _TERRITORY and kind.locks and kind.zone_id in _CONTINENTS
    )


def _whole(duration: float) -> Ms:
    """At least one second, and whole ones."""
    return max(1, int(duration) // SECOND) * SECOND


def start_of_day(at: Ms) -> Ms:
    """The UTC midnight at or before `at`."""
    return at - at % DAY
