"""No input ends a stage or is answered by a traceback, whoever it comes from; `make fuzz` gives more of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps2daemon.model.records import Record
from ps2daemon.queue.frames import encode_frames
from tests.fuzz import asked, census, queued
from tests.fuzz.census import PAYLOADS, ROWS, STATUSES, answer
from tests.fuzz.mutation import mutated
from tests.fuzz.running import Surface, Take, fuzz, mutations
from tests.fuzz.structures import configurations, documents, records
from tests.fuzz.surfaces import SURFACES

pytestmark = pytest.mark.logs_errors

INPUTS = {
    "stream messages": 3_000,
    "stream bytes": 1_000,
    "REST": 1_200,
    "queue frames": 1_200,
    "recordings": 2_500,
    "configuration": 700,
    "queries": 700,
    "HTTP requests": 150,
}


@pytest.mark.parametrize("name", SURFACES)
def test_changed_bytes(name: str, record_property: Callable[[str, object], None]) -> None:
    report = mutations(SURFACES[name], INPUTS[name])
    record_property("fuzz", str(report))
    assert not report.findings, "\n".join(f"{found.error}{found.data.hex()}" for found in report.findings)
    assert report.outcomes.total() == INPUTS[name] + len(SURFACES[name].seeds)
    assert len(report.outcomes) > 1, "some are taken and some are not"


def check(surface: Surface, inputs: Iterable[bytes]) -> None:
    report = fuzz(surface, inputs)
    assert not report.findings, report.findings[0].error


@settings(max_examples=50)
@given(messages=st.lists(documents(*census.MESSAGES), min_size=1, max_size=12))
def test_messages_like_right_ones(messages: list[bytes]) -> None:
    check(census.MESSAGES_SURFACE, messages)


@settings(max_examples=60)
@given(
    bodies=st.lists(
        documents(ROWS, STATUSES, *census.ERRORS) | st.binary(max_size=300), min_size=1, max_size=12
    )
)
def test_answers_like_right_ones(bodies: list[bytes]) -> None:
    check(census.REST_SURFACE, map(answer, bodies))


@settings(max_examples=40)
@given(batches=st.lists(st.lists(records(*PAYLOADS), min_size=1, max_size=12), min_size=1, max_size=3))
def test_records_like_right_ones(batches: list[list[Record]]) -> None:
    check(queued.FRAMES_SURFACE, [frame for batch in batches for frame in encode_frames(batch)])


@settings(max_examples=60)
@given(texts=st.lists(configurations(), min_size=1, max_size=8))
def test_configurations_like_right_ones(texts: list[bytes]) -> None:
    check(asked.CONFIGURATION_SURFACE, texts)


# What finds is found


def test_an_input_is_the_same_again_by_its_number() -> None:
    seeds = census.MESSAGES
    assert [mutated(seeds, 7, number) for number in range(50)] == [
        mutated(seeds, 7, number) for number in range(50)
    ]
    assert len({mutated(seeds, run, number) for run in (1, 2) for number in range(200)}) > 350


def test_whatever_is_raised_is_told_with_its_input_and_the_others_follow() -> None:
    async def take(data: bytes) -> str:
        if data == b"bad":
            raise ValueError("this one")
        return "good"

    class Opened:
        async def __aenter__(self) -> Take:
            return take

        async def __aexit__(self, *error: object) -> None:
            pass

    report = fuzz(Surface("some", Opened, ()), [b"a", b"bad", b"b"])
    assert report.outcomes == {"good": 2, "finding": 1}
    [found] = report.findings
    assert found.data == b"bad"
    assert "ValueError: this one" in found.error
