"""The recording of a past span, and the population behind it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import pairwise

import pytest

from ps2daemon.errors import UsageError
from ps2daemon.model import tables
from ps2daemon.model.coverage import Interval, WorldCoverage
from ps2daemon.model.events import ContinentLock, Event, Login, Logout, Metagame, decode_event
from ps2daemon.model.recording import format_line, parse_line
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, CoverageRecord, EventRecord, Ms, Record
from ps2daemon.model.times import parse_iso
from ps2daemon.simulator.names import HOSTILE_NAME, character_id, character_name
from ps2daemon.simulator.population import WorldPopulation
from ps2daemon.simulator.recording import HistorySettings, history
from ps2daemon.simulator.schedule import Schedule
from ps2daemon.simulator.settings import PopulationSettings, faction_shares, level
from ps2daemon.simulator.timeline import Timeline, origin_before
from ps2daemon.simulator.truth import Truth

START = parse_iso("2026-03-02T05:30:00Z")
SMALL = PopulationSettings(seed=7, worlds=(10, 40), scale=0.1)


def made(
    hours: int = 30,
    *,
    population: PopulationSettings = SMALL,
    gaps: tuple[Interval, ...] | None = None,
) -> tuple[list[Record], Truth]:
    records, truth = history(
        HistorySettings(population=population, start=START, end=START + hours * HOUR, gaps=gaps)
    )
    return list(records), truth


def events_of(records: list[Record]) -> list[Event]:
    return [decode_event(record.payload) for record in records if isinstance(record, EventRecord)]


def edges(truth: Truth, since: Ms, until: Ms) -> Counter[tuple[str, str, int, Ms]]:
    """Every login and logout in `[since, until)`."""
    found: Counter[tuple[str, str, int, Ms]] = Counter()
    for session in truth.sessions:
        if since <= session.login < until:
            found["login", session.character_id, session.world_id, session.login] += 1
        if session.logout is not None and since <= session.logout < until:
            found["logout", session.character_id, session.world_id, session.logout] += 1
    return found


def told(events: list[Event]) -> Counter[tuple[str, str, int, Ms]]:
    return Counter(
        ("login" if isinstance(event, Login) else "logout", event.character_id, event.world_id, event.at)
        for event in events
        if isinstance(event, Login | Logout)
    )


def test_one_seed_is_one_recording_byte_for_byte_and_another_is_another() -> None:
    first = b"".join(map(format_line, made()[0]))
    assert first == b"".join(map(format_line, made()[0]))
    other = PopulationSettings(seed=8, worlds=(10, 40), scale=0.1)
    assert first != b"".join(map(format_line, made(population=other)[0]))


def test_without_a_gap_every_event_of_the_span_is_there_once() -> None:
    records, truth = made(gaps=())
    assert told(events_of(records)) == edges(truth, START, START + 30 * HOUR)
    assert len(truth.sessions) > 1_000


def test_lines_survive_the_recording_format() -> None:
    records, _ = made(hours=2)
    assert [parse_line(format_line(record), number) for number, record in enumerate(records, 1)] == records


def test_events_come_in_the_order_of_receipt_a_moment_after_they_happened() -> None:
    records, _ = made()
    received = [record for record in records if isinstance(record, EventRecord)]
    assert [record.received_at for record in received] == sorted(record.received_at for record in received)
    for record in received:
        event = decode_event(record.payload)
        assert event.at is not None
        assert event.at % SECOND == 0
        assert 200 <= record.received_at - event.at <= 1_500


def test_coverage_never_vouches_for_an_event_that_is_not_there_yet() -> None:
    records, truth = made()
    ends = dict.fromkeys(SMALL.worlds, START)
    wanted = edges(truth, START, START + 30 * HOUR)
    seen: Counter[tuple[str, str, int, Ms]] = Counter()
    checked = 0
    times = sorted((key[3], key) for key in wanted)
    for record in records:
        if isinstance(record, EventRecord):
            seen.update(told([decode_event(record.payload)]))
            continue
        since = max(record.start, ends[record.world_id])
        window = times[bisect_left(times, (since,)) : bisect_left(times, (record.end,))]
        for _, key in window:
            if key[2] == record.world_id:
                assert seen[key] == 1
                checked += 1
        ends[record.world_id] = record.end
    assert checked > 0.8 * sum(wanted.values())


def test_a_span_keeps_its_start_and_grows_by_about_a_minute() -> None:
    records, truth = made()
    for world_id in SMALL.worlds:
        claims = [
            record for record in records if isinstance(record, CoverageRecord) and record.world_id == world_id
        ]
        for earlier, later in pairwise(claims):
            if earlier.start == later.start:
                assert 0 < later.end - earlier.end <= MINUTE
                assert earlier.after == later.after
        coverage = WorldCoverage(claims)
        assert coverage.spans == [
            Interval(span.start, span.end) for span in truth.coverage if span.world_id == world_id
        ]
        assert coverage.spans[0].start == START
        assert coverage.spans[-1].end == START + 30 * HOUR


def test_a_gap_has_no_events_and_the_next_span_says_why() -> None:
    gap = Interval(START + 10 * HOUR, START + 13 * HOUR)
    records, truth = made(gaps=(gap,))
    assert not [
        record
        for record in records
        if isinstance(record, EventRecord) and gap.start <= record.received_at < gap.end - SECOND
    ]
    for world_id in SMALL.worlds:
        coverage = WorldCoverage(
            record for record in records if isinstance(record, CoverageRecord) and record.world_id == world_id
        )
        (found,) = coverage.gaps(START, START + 30 * HOUR)
        assert gap.start - 2 * MINUTE < found.start < gap.start
        assert found.end == gap.end
        assert found.after == "connection"
    missing = edges(truth, START, START + 30 * HOUR) - told(events_of(records))
    assert missing
    assert all(gap.start - 2 * SECOND <= key[3] < gap.end for key in missing)


def test_by_default_a_long_span_has_one_gap_of_three_hours_and_a_short_one_none() -> None:
    day = HistorySettings(population=SMALL, start=START, end=START + DAY).spans()
    assert len(day) == 2
    assert day[1].start - day[0].end == 3 * HOUR
    assert HistorySettings(population=SMALL, start=START, end=START + HOUR).spans() == [
        Interval(START, START + HOUR)
    ]


def test_who_is_online_at_the_start_has_a_true_login_before_it() -> None:
    records, truth = made(hours=12, gaps=())
    early = [session for session in truth.sessions if session.login < START]
    assert sum(truth.online(START, 10).values()) == sum(session.world_id == 10 for session in early)
    assert len(early) > 10
    logged_in = {event.character_id for event in events_of(records) if isinstance(event, Login)}
    logged_out = {event.character_id for event in events_of(records) if isinstance(event, Logout)}
    assert {session.character_id for session in early if session.logout is not None} <= logged_out
    assert {session.character_id for session in early} - logged_in


def test_sessions_are_lognormal_cut_and_never_overlap() -> None:
    _, truth = made(hours=96, population=PopulationSettings(seed=3, worlds=(10,), scale=0.2), gaps=())
    minutes = sorted(
        (session.logout - session.login) / MINUTE for session in truth.sessions if session.logout is not None
    )
    assert 31 < minutes[len(minutes) // 2] < 38
    assert 50 < sum(minutes) / len(minutes) < 65
    assert minutes[0] > 0
    assert minutes[-1] <= 11 * 60
    last: dict[str, Ms] = {}
    relogs = 0
    for session in truth.sessions:
        before = last.get(session.character_id)
        if before is not None:
            assert session.login > before
            relogs += session.login - before <= 3 * MINUTE
        if session.logout is not None:
            last[session.character_id] = session.logout
    assert 0.05 < relogs / len(truth.sessions) < 0.11


def test_the_population_follows_the_days_rhythm_and_the_empires_their_shares() -> None:
    settings = PopulationSettings(seed=5, worlds=(10,), scale=1.0)
    _, truth = made(hours=48, population=settings, gaps=())
    for hour in range(48):
        at = START + hour * HOUR
        online = truth.online(at, 10)
        assert sum(online.values()) == pytest.approx(level(settings, 10, at), rel=0.2, abs=75)
    evening = truth.online(parse_iso("2026-03-02T19:00:00Z"), 10)
    night = truth.online(parse_iso("2026-03-03T04:00:00Z"), 10)
    assert sum(evening.values()) > 3 * sum(night.values())
    total = sum(evening.values())
    assert 600 < total < 1_100
    shares = faction_shares(settings, 10, START)
    assert sum(shares) == pytest.approx(1.0)
    for faction_id, share in zip((1, 2, 3, 4), shares, strict=True):
        assert evening[faction_id] / total == pytest.approx(share, abs=0.06)
    assert 0 < evening[4] < 0.08 * total


def test_most_sessions_belong_to_regulars_and_some_characters_are_new() -> None:
    _, truth = made(hours=96, population=PopulationSettings(seed=3, worlds=(10,), scale=0.2), gaps=())
    counts = Counter(session.character_id for session in truth.sessions)
    busiest = sum(count for _, count in counts.most_common(len(counts) // 5))
    assert busiest > 0.35 * len(truth.sessions)
    new = [
        character
        for character in truth.characters.values()
        if character.first_end is None or character.first_end
    ]
    assert 0.02 < len(new) / len(truth.characters) < 0.25
    assert all(len(character.character_id) == 19 for character in truth.characters.values())
    names = [character.name for character in truth.characters.values()]
    assert HOSTILE_NAME in names
    assert len(set(names)) == len(names)


def test_names_and_ids_do_not_repeat_within_a_world() -> None:
    assert len({character_name(number) for number in range(60_000)}) == 60_000
    assert len({character_id(world, number) for world in (1, 10, 2000) for number in range(2_000)}) == 6_000
    assert {len(character_id(world, 0)) for world in (1, 2002)} == {19}


def test_alerts_run_on_the_real_schedule() -> None:
    settings = PopulationSettings(seed=2, worlds=(1, 10, 40), scale=0.02)
    _, truth = made(hours=24 * 28, population=settings, gaps=())
    kinds = tables.metagame_events()
    territory = [alert for alert in truth.alerts if kinds[alert.metagame_event_id].locks]
    assert len(territory) / 28 / 3 == pytest.approx(8.6, abs=1.0)
    long = sum(kinds[alert.metagame_event_id].minutes == 90 for alert in territory)
    assert long / len(territory) == pytest.approx(0.76, abs=0.05)
    others = [alert for alert in truth.alerts if not kinds[alert.metagame_event_id].locks]
    assert any(alert.canceled for alert in others)
    early = 0
    for alert in territory:
        nominal = alert.start + kinds[alert.metagame_event_id].duration(alert.start) + SECOND
        assert alert.end == nominal or (alert.dominated and alert.start < alert.end < nominal)
        early += alert.dominated
        share = alert.territory_end[(alert.winner or 0) - 1]
        assert share == max(alert.territory_end)
        assert sum(alert.territory_end) <= 100
    assert 0.06 < early / len(territory) < 0.2
    for world_id in settings.worlds:
        here = [alert for alert in truth.alerts if alert.world_id == world_id]
        ids = [alert.instance_id for alert in here]
        assert ids == sorted(set(ids))
        assert any(later.start < earlier.end for earlier, later in pairwise(here))


def test_a_lock_follows_its_alert_within_seconds_in_either_order_for_the_winner() -> None:
    settings = PopulationSettings(seed=2, worlds=(10,), scale=0.02)
    _, truth = made(hours=24 * 28, population=settings, gaps=())
    alerts = {alert.instance_id: alert for alert in truth.alerts}
    owned = [lock for lock in truth.locks if lock.instance_id in alerts]
    distances = set()
    for lock in owned:
        assert lock.instance_id is not None
        alert = alerts[lock.instance_id]
        assert lock.at == alert.lock_at
        assert (lock.zone_id, lock.winner) == (alert.zone_id, alert.winner)
        assert sum(lock.population) == 100
        distances.add((lock.at - alert.end) // SECOND)
    assert min(distances) < 0 < max(distances)
    assert all(-2 <= distance <= 5 for distance in distances)
    assert any(lock.instance_id is None for lock in truth.locks)
    assert any(alert.lock_at is None and not alert.canceled for alert in truth.alerts)


def test_world_events_are_told_with_strings_and_their_zones() -> None:
    records, truth = made(hours=30, gaps=())
    events = events_of(records)
    changes = [event for event in events if isinstance(event, Metagame)]
    locks = [event for event in events if isinstance(event, ContinentLock)]
    end = START + 30 * HOUR
    assert {(event.world_id, event.instance_id, event.at) for event in changes} == {
        (alert.world_id, alert.instance_id, at)
        for alert in truth.alerts
        for at in (alert.start, alert.end)
        if START <= at < end
    }
    assert {(event.world_id, event.zone_id, event.at, event.winner) for event in locks} == {
        (lock.world_id, lock.zone_id, lock.at, lock.winner) for lock in truth.locks
    }
    assert locks
    assert all(event.zone_id in tables.zones() for event in changes)


def share_leaving(truth: Truth, at: Ms, world_id: int, within: Ms, losers_of: int | None = None) -> float:
    here = [
        session
        for session in truth.sessions
        if session.world_id == world_id
        and session.login <= at
        and (session.logout is None or at < session.logout)
        and (losers_of is None or session.faction_id not in (losers_of, 4))
    ]
    gone = sum(session.logout is not None and session.logout <= at + within for session in here)
    return gone / len(here)


@pytest.mark.parametrize(
    ("leave", "which"),
    [
        ({"alert_leave": 0.3, "lock_leave": 0.0}, "alert"),
        ({"alert_leave": 0.0, "lock_leave": 0.3}, "lock"),
        ({"alert_leave": 0.0, "lock_leave": 0.0, "loser_leave": 0.3}, "loser"),
    ],
)
def test_the_extra_share_that_leaves_is_what_was_set(leave: dict[str, float], which: str) -> None:
    def run(**shares: float) -> Truth:
        settings = PopulationSettings(seed=11, worlds=(10,), scale=0.5, **shares)
        return made(hours=96, population=settings, gaps=())[1]

    plain, moved = run(alert_leave=0.0, lock_leave=0.0), run(**leave)
    assert [alert.end for alert in plain.alerts] == [alert.end for alert in moved.alerts]
    times: list[tuple[Ms, int | None]] = [(lock.at, None) for lock in plain.locks]
    if which != "lock":
        times = [
            (alert.end, alert.winner if which == "loser" else None)
            for alert in plain.alerts
            if not alert.canceled
        ]
    end = START + 96 * HOUR
    differences = []
    for at, winner in times:
        alone = all(other == at or abs(other - at) > 30 * MINUTE for other, _ in times)
        if alone and START + HOUR < at < end - HOUR:
            before = share_leaving(plain, at, 10, 15 * MINUTE, winner)
            after = share_leaving(moved, at, 10, 15 * MINUTE, winner)
            differences.append((after - before) / (1 - before))
    assert len(differences) > 15
    assert sum(differences) / len(differences) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_who_leaves_because_of_something_had_planned_to_go_later(share: float) -> None:
    settings = PopulationSettings(seed=11, worlds=(10,), scale=0.2, alert_leave=share, lock_leave=0.0)
    schedule = Schedule(settings, 10, START)
    people = WorldPopulation(settings, 10, schedule, START, hostile=False).sittings(START + 48 * HOUR)
    assert all(each.login < each.logout <= each.planned for each in people)
    sooner = [each for each in people if each.logout < each.planned]
    assert len(sooner) > 200 if share else not sooner
    ends = [effect.at for effect in schedule.effects if effect.share]
    assert all(any(each.login <= at < each.logout for at in ends) for each in sooner)


def test_a_timeline_is_the_same_however_it_is_asked() -> None:
    origin = origin_before(START)
    whole = Timeline(SMALL, origin).advance(origin + 40 * HOUR)
    timeline = Timeline(SMALL, origin)
    parts = []
    for minutes in (1, 59, 60, 777, 1_503):
        parts += timeline.advance(min(origin + minutes * MINUTE, origin + 40 * HOUR))
    parts += timeline.advance(origin + 40 * HOUR)
    assert parts == whole
    assert [moment.at for moment in whole] == sorted(moment.at for moment in whole)


def test_a_recording_s_end_is_where_a_longer_one_goes_on() -> None:
    short, _ = made(hours=20, gaps=())
    long, _ = made(hours=25, gaps=())
    first, second = events_of(short), events_of(long)
    assert set(first) <= set(second)
    assert all(event.at is not None and event.at >= START + 20 * HOUR for event in set(second) - set(first))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"worlds": ()}, "at least one world"),
        ({"worlds": (10, 10)}, "each once"),
        ({"worlds": (7777,)}, "7777 is no world"),
        ({"scale": 0.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"alert_leave": 1.5}, "alert_leave"),
        ({"lock_leave": -0.1}, "lock_leave"),
    ],
)
def test_impossible_populations_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PopulationSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "gaps",
    [
        (Interval(START - 1, START + 5),),
        (Interval(START + 5, START + 5),),
        (Interval(START + HOUR, START + 99 * DAY),),
        (Interval(START + 2 * HOUR, START + 3 * HOUR), Interval(START + HOUR, START + 4 * HOUR)),
    ],
)
def test_impossible_gaps_are_refused(gaps: tuple[Interval, ...]) -> None:
    with pytest.raises(UsageError, match="gap"):
        HistorySettings(population=SMALL, start=START, end=START + DAY, gaps=gaps)


def test_a_span_must_not_be_empty() -> None:
    with pytest.raises(UsageError, match="not after its start"):
        HistorySettings(population=SMALL, start=START, end=START)


def test_counts_of_the_truth_are_those_of_a_slow_count() -> None:
    _, truth = made(hours=12, gaps=())
    for at in range(START, START + 12 * HOUR, 17 * MINUTE + 1_000):
        slow = Counter(
            session.faction_id
            for session in truth.sessions
            if session.world_id == 10
            and session.login <= at
            and (session.logout is None or at < session.logout)
        )
        assert {faction: count for faction, count in truth.online(at, 10).items() if count} == dict(slow)
    logins = sorted(session.login for session in truth.sessions)
    assert bisect_right(logins, START) < len(logins)
