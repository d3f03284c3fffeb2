"""What a server refuses, the worker behind the queue against real ones: nothing is lost, nothing doubled, and `/readyz` says what is wrong."""

from __future__ import annotations

import pytest
import trio

from tests.elasticsearch import EACH_MAJOR, address, indices
from tests.elasticsearch_worker import assert_same, in_elasticsearch, in_sqlite, told, worker
from tests.stores import Content

pytestmark = EACH_MAJOR


@pytest.fixture(scope="module")
def wanted() -> Content:
    return trio.run(in_sqlite, told())


async def test_without_a_fault(major: int, wanted: Content) -> None:
    async with indices(address(major)) as ours, worker(ours.settings(), told()) as each:
        async with each.draining():
            pass
        assert_same(await in_elasticsearch(ours.settings()), wanted)
        assert await each.reasons() == []
