from __future__ import annotations

import pytest
import trio
import trio.testing

from ps2daemon.clock import VirtualClock
from ps2daemon.model.events import MAX_PAYLOAD_BYTES
from ps2daemon.model.records import DAY, HOUR, MINUTE, SECOND, CoverageRecord, EventRecord, Ms, Record
from ps2daemon.queue.frames import MAX_FRAME_BYTES, MAX_RECORDS, encode_frame
from ps2daemon.stages.intake import HIGH_BYTES, HIGH_RECORDS, LOW_RECORDS, MOST_OFF, Intake, Source
from tests.records import T0


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[bytes, Ms]] = []
        self.oversized: list[str] = []

    def event(self, payload: bytes, received_at: Ms) -> int | None:
        self.events.append((payload, received_at))
        return None


class Bench:
    """An intake with a source, and a clock."""

    def __init__(self) -> None:
        self.clock = VirtualClock(T0)
        self.intake = Intake(self.clock)
        self.told = Told()
        self.source = self.new_source()

    def new_source(self) -> Source:
        return self.intake.source(on_event=self.told.event, on_oversized=self.told.oversized.append)

    def event(self, text: str) -> None:
        self.source.event(text.encode(), self.clock.now())

    async def verify(self, *worlds: int, after: float = 60.0) -> tuple[Ms, Ms]:
        """Asks after some seconds, and has the answer 200 ms later.

        Returns:
            up to when that vouches, and when the answer came.
        """
        await trio.sleep(after)
        asked = self.clock.now()
        await trio.sleep(0.2)
        for world_id in worlds or (10,):
            self.source.verified(world_id, asked, self.clock.now())
        return asked // SECOND * SECOND, self.clock.now()

    def all(self) -> list[Record]:
        """Takes everything out."""
        found: list[Record] = []
        while records := self.intake.next_frame():
            encode_frame(records)
            found += records
            self.intake.remove(len(records))
        return found


async def test_coverage_is_claimed_in_arrears_and_behind_its_events(autojump_clock: trio.abc.Clock) -> None:
    bench = Bench()
    _, start = await bench.verify()
    bench.event("a")
    await trio.sleep(1)
    bench.event("b")
    asked, _ = await bench.verify()
    bench.event("c")
    later, _ = await bench.verify()
    first, second, claim, third, longer = bench.all()
    assert [each.payload for each in (first, second, third) if isinstance(each, EventRecord)] == [
        b"a",
        b"b",
        b"c",
    ]
    assert claim == CoverageRecord(10, start, asked, "start")
    assert longer == CoverageRecord(10, start, later, "start")
    assert isinstance(second, EventRecord)
    assert second.received_at < asked
    assert [payload for payload, _ in bench.told.events] == [b"a", b"b", b"c"]


async def test_a_span_begins_with_the_answer_and_not_with_the_question(
    autojump_clock: trio.abc.Clock,
) -> None:
    bench = Bench()
    bench.source.heartbeat(None, T0)
    _, start = await bench.verify()
    bench.source.verified(10, start - 100, start + 50)  # asked before the first answer had come
    bench.source.verified(10, start, start + 60)
    assert bench.all() == []
    bench.source.verified(10, start + 1_000, start + 1_070)
    assert bench.all() == [CoverageRecord(10, start, (start + 1_000) // SECOND * SECOND, "start")]


async def test_the_second_of_the_question_is_not_vouched_for(autojump_clock: trio.abc.Clock) -> None:
    """An event that comes after the question, and may be lost, can bear its second."""
    bench = Bench()
    bench.source.heartbeat(None, T0)
    bench.source.verified(10, T0, T0 + 300)
    for asked, end in ((T0 + 900, None), (T0 + 1_999, T0 + 1_000), (T0 + 2_000, T0 + 2_000)):
        bench.source.verified(10, asked, asked + 100)
        assert bench.all() == ([] if end is None else [CoverageRecord(10, T0 + 300, end, "start")])


async def test_a_lost_span_ends_with_its_last_claim(autojump_clock: trio.abc.Clock) -> None:
    bench = Bench()
    await bench.verify(10, 40)
    asked, _ = await bench.verify(10, 40)
    bench.all()
    await trio.sleep(30)
    bench.source.lost([10], "world_down")
    _, start = await bench.verify(10, 40)
    (still,) = bench.all()
    assert isinstance(still, CoverageRecord)
    assert (still.world_id, still.after) == (40, "start")
    assert still.end > asked
    end, _ = await bench.verify(10)
    assert bench.all() == [CoverageRecord(10, start, end, "world_down")]


async def test_worlds_are_apart(autojump_clock: trio.abc.Clock) -> None:
    bench = Bench()
    bench.source.lost([10], "subscription")
    _, start = await bench.verify(10, 40)
    end, _ = await bench.verify(10, 40)
    assert bench.all() == [
        CoverageRecord(10, start, end, "subscription"),
        CoverageRecord(40, start, end, "start"),
    ]


class Heard(Bench):
    """Of busy worlds, an event each second; of world 40 none, so that its own silence says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.silent: list[tuple[int, bool]] = []
        self.source = self.intake.source(
            on_event=lambda payload, at: int(payload),
            on_oversized=self.told.oversized.append,
            on_silent=lambda world_id, silent: self.silent.append((world_id, silent)),
        )

    async def minutes(self, number: int, *busy: int) -> None:
        for _ in range(number):
            for _ in range(60):
                await trio.sleep(1)
                for world_id in busy:
                    self.event(str(world_id))
            await self.verify(1, 10, 40, after=0)

    def covered(self) -> dict[int, tuple[Ms, Ms, str]]:
        """The last claim of each world, taken out with all before; in ms after `T0`."""
        claims = [each for each in self.all() if isinstance(each, CoverageRecord)]
        return {each.world_id: (each.start - T0, each.end - T0, each.after) for each in claims}


async def test_where_nothing_arrives_any_longer_a_slow_world_is_not_vouched_for_either(
    autojump_clock: trio.abc.Clock,
) -> None:
    bench = Heard()
    await bench.minutes(12, 1, 10)
    until = bench.clock.now() - T0
    await bench.verify(1, 10, 40, after=8)
    assert bench.silent == [], "it may be chance yet, and nothing is vouched for all the same"
    assert {end for _, end, _ in bench.covered().values()} <= {until // SECOND * SECOND}
    await bench.minutes(3)
    assert bench.covered() == {}
    assert {*bench.silent} == {(1, True), (10, True), (40, True)}
    await bench.minutes(3, 10)
    again = bench.covered()
    assert again.keys() == {10, 40}, "of world 1 nothing has come yet"
    for start, end, after in again.values():
        assert after == "world_silent"
        assert start >= until + 4 * 60 * SECOND
        assert end > start
    assert {*bench.silent[3:]} == {(10, False), (40, False)}


@pytest.mark.parametrize("down", [False, True])
async def test_a_busy_world_that_is_silent_alone_says_nothing_of_others(
    down: bool, autojump_clock: trio.abc.Clock
) -> None:
    bench = Heard()
    await bench.minutes(12, 1, 10)
    if down:  # and so is the other one, as the server says
        bench.source.lost([1, 10], "world_down")
        for _ in range(30):
            await bench.verify(40)
    else:
        await bench.minutes(30, 1)
    start, end, after = bench.covered()[40]
    assert (start, after) == (60_200, "start")
    assert end >= bench.clock.now() - T0 - 2 * SECOND
    await bench.verify(1, 10, 40, after=15)  # of one world this may be chance
    assert {world_id for world_id, _ in bench.silent} == (set() if down else {10})


@pytest.mark.parametrize("jump", [-HOUR, -5 * MINUTE])
async def test_time_that_comes_again_is_not_vouched_for_again(
    jump: Ms, autojump_clock: trio.abc.Clock
) -> None:
    """There may be a gap in it. Also where the service does not tell its time."""
    bench = Bench()
    await bench.verify()
    reached, _ = await bench.verify()
    bench.clock.set(bench.clock.now() + jump)
    bench.source.heartbeat(None, bench.clock.now())
    bench.all()
    while bench.clock.now() < reached:
        await bench.verify()
        assert bench.all() == []
    end, _ = await bench.verify()
    (claim,) = bench.all()
    assert isinstance(claim, CoverageRecord)
    assert (claim.start >= reached, claim.end, claim.after) == (True, end, "clock")


@pytest.mark.parametrize("jump", [HOUR, 3 * SECOND])
async def test_a_jump_of_the_clock_ends_every_span(jump: Ms, autojump_clock: trio.abc.Clock) -> None:
    bench = Bench()
    await bench.verify(10, 40)
    asked, _ = await bench.verify(10, 40)
    claims = bench.all()
    assert {claim.end for claim in claims if isinstance(claim, CoverageRecord)} == {asked}
    bench.clock.set(bench.clock.now() + jump)
    for _ in range(3):
        await bench.verify(10, 40)
    assert bench.all() == [], "which time it is, nobody said yet"
    bench.source.heartbeat(None, bench.clock.now())
    _, start = await bench.verify(10, 40)
    end, _ = await bench.verify(10, 40)
    assert bench.all() == [CoverageRecord(10, start, end, "clock"), CoverageRecord(40, start, end, "clock")]


async def test_an_ask_from_before_the_clock_was_set_back_vouches_for_nothing_to_come(
    autojump_clock: trio.abc.Clock,
) -> None:
    """While nothing could be read, for lack of room, several were made; their answers come at once."""
    bench = Bench()
    await bench.verify()
    asked = [bench.clock.now() + n * 60 * SECOND for n in range(3)]
    await trio.sleep(180)
    bench.clock.set(bench.clock.now() - HOUR)
    bench.source.heartbeat(bench.clock.now() - 180 * SECOND, bench.clock.now())
    start = bench.clock.now()
    for at in asked:
        bench.source.verified(10, at, bench.clock.now())
    assert bench.all() == []
    end, _ = await bench.verify()
    assert bench.all() == [CoverageRecord(10, start, end, "clock")]


@pytest.mark.parametrize("off", [-MOST_OFF - SECOND, MOST_OFF + SECOND, -DAY])
async def test_a_clock_that_is_far_from_the_service_s_vouches_for_nothing(
    off: Ms, autojump_clock: trio.abc.Clock
) -> None:
    """Also where it always was, and once the service no longer tells its own."""
    bench = Bench()
    told: list[tuple[Ms, bool]] = []
    bench.source = bench.intake.source(
        on_event=bench.told.event,
        on_oversized=bench.told.oversized.append,
        on_clock=lambda ahead, wrong: told.append((ahead, wrong)),
    )
    await bench.verify(10, 40)
    bench.source.heartbeat(bench.clock.now() - off, bench.clock.now())
    for _ in range(3):
        await bench.verify(10, 40)
        bench.source.heartbeat(None, bench.clock.now())
    bench.event("still kept")
    assert [type(each) for each in bench.all()] == [EventRecord]
    bench.clock.set(bench.clock.now() - off)
    bench.source.heartbeat(bench.clock.now(), bench.clock.now())
    _, start = await bench.verify()
    end, _ = await bench.verify()
    assert bench.all() == [CoverageRecord(10, start, end, "clock")]
    assert told == [(off, True), (0, False)]


@pytest.mark.parametrize("into_second", range(100, 1_000, 200))
async def test_a_clock_that_was_wrong_from_the_start_vouches_for_nothing_before_the_first_heartbeat(
    into_second: Ms, autojump_clock: trio.abc.Clock
) -> None:
    """A span that begins is asked about again half a second later, and then after a minute; heartbeats come every 30 s."""
    bench = Bench()
    begin = T0 + into_second
    bench.source.verified(10, begin - 100, begin)
    bench.source.verified(10, begin + 500, begin + 600)
    bench.source.heartbeat(begin + 5 * SECOND - HOUR, begin + 5 * SECOND)
    bench.source.verified(10, begin + 60 * SECOND, begin + 60 * SECOND + 100)
    assert bench.all() == []


async def test_a_service_whose_clock_is_a_little_off_is_believed(autojump_clock: trio.abc.Clock) -> None:
    bench = Bench()
    _, start = await bench.verify()
    for off in (-MOST_OFF, MOST_OFF, 309 * SECOND):
        bench.source.heartbeat(bench.clock.now() - off, bench.clock.now())
        end, _ = await bench.verify()
        assert bench.all() == [CoverageRecord(10, start, end, "start")]


async def test_a_clock_that_is_slewed_is_no_jump(autojump_clock: trio.abc.Clock) -> None:
    bench = Bench()
    _, start = await bench.verify()
    end = start
    for _ in range(100):
        bench.clock.set(bench.clock.now() + 30)  # 0.5 ms a second
        end, _ = await bench.verify()
    claims = bench.all()
    assert len(claims) == 100
    assert claims[-1] == CoverageRecord(10, start, end, "start")


async def test_a_full_disk_ends_the_spans_of_every_connection(autojump_clock: trio.abc.Clock) -> None:
    bench = Bench()
    other = bench.new_source()
    await bench.verify()
    other.verified(40, bench.clock.now(), bench.clock.now())
    bench.source.lost([10], "connection")  # the socket was closed, which is not the reason
    bench.intake.lost("disk_full")
    _, start = await bench.verify()
    other.verified(40, start, start)
    end, answered = await bench.verify()
    other.verified(40, end, answered)
    assert bench.all() == [
        CoverageRecord(10, start, end, "disk_full"),
        CoverageRecord(40, start, end, "disk_full"),
    ]
    bench.source.lost([10], "connection")
    _, start = await bench.verify()
    end, _ = await bench.verify()
    assert bench.all() == [CoverageRecord(10, start, end, "connection")]


async def test_what_is_here_vouches_for_nothing_when_what_was_before_it_is_lost(
    autojump_clock: trio.abc.Clock,
) -> None:
    bench = Bench()
    await bench.verify()
    bench.event("first")
    await bench.verify()
    bench.event("second")
    bench.intake.disown("disk_full")
    await bench.verify()
    assert [type(record) for record in bench.all()] == [EventRecord, EventRecord]
    _, start = await bench.verify()
    bench.intake.disown("disk_full")
    _, start = await bench.verify()
    end, _ = await bench.verify()
    assert bench.all() == [CoverageRecord(10, start, end, "disk_full")]


async def test_an_event_that_is_too_large_is_left_out() -> None:
    bench = Bench()
    bench.event("x" * (MAX_PAYLOAD_BYTES + 1))
    assert (len(bench.intake), bench.told.events) == (0, [])
    assert str(MAX_PAYLOAD_BYTES + 1) in bench.told.oversized[0]
    bench.event("x" * MAX_PAYLOAD_BYTES)
    assert len(bench.all()) == 1


async def test_a_frame_is_bound_in_records_and_bytes_and_keeps_the_order() -> None:
    bench = Bench()
    for number in range(3 * MAX_RECORDS):
        bench.event(str(number))
    sizes = []
    for size in (MAX_PAYLOAD_BYTES, 10, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES, 20):
        sizes.append(size)
        bench.event("y" * size)
    frames = []
    while records := bench.intake.next_frame():
        assert bench.intake.next_frame() == records, "looking takes nothing away"
        assert len(encode_frame(records)) <= MAX_FRAME_BYTES + 100
        frames.append(records)
        bench.intake.remove(len(records))
    assert [len(frame) for frame in frames[:3]] == [MAX_RECORDS] * 3
    told = [record.payload for frame in frames for record in frame if isinstance(record, EventRecord)]
    assert told == [payload for payload, _ in bench.told.events]
    assert len(frames) > 4


async def test_waiting_ends_with_a_record(autojump_clock: trio.abc.Clock) -> None:
    bench = Bench()
    done = trio.Event()

    async def wait() -> None:
        await bench.intake.wait()
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not done.is_set()
        bench.event("a")
        await done.wait()
    await bench.intake.wait()  # what is there needs no waiting
    bench.all()
    with trio.move_on_after(1) as scope:
        await bench.intake.wait()
    assert scope.cancelled_caught


async def test_the_socket_is_held_back_while_there_is_too_much_and_goes_on_when_half_is_gone() -> None:
    bench = Bench()
    for number in range(HIGH_RECORDS - 1):
        bench.event(str(number))
    assert bench.intake.backpressure() is None
    bench.event("last")
    held = [bench.intake.backpressure(), bench.intake.backpressure()]
    gone_on: list[int] = []

    async def wait(number: int) -> None:
        room = held[number]
        assert room is not None
        await room
        gone_on.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 0)
        nursery.start_soon(wait, 1)
        bench.intake.remove(HIGH_RECORDS - LOW_RECORDS - 1)
        await trio.testing.wait_all_tasks_blocked()
        assert gone_on == []
        bench.intake.remove(1)
    assert sorted(gone_on) == [0, 1]
    assert bench.intake.backpressure() is None


async def test_the_socket_is_held_back_by_bytes_as_well() -> None:
    bench = Bench()
    for _ in range(HIGH_BYTES // MAX_PAYLOAD_BYTES):
        assert bench.intake.backpressure() is None
        bench.event("x" * MAX_PAYLOAD_BYTES)
    room = bench.intake.backpressure()
    assert room is not None
    bench.all()
    with trio.fail_after(1):
        await room
    assert bench.intake.backpressure() is None
