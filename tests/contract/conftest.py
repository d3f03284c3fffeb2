"""What the contract tests leave behind: nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio

from ps2daemon.store.elasticsearch.keeping import remove_store
from tests.contract.stores import servers


@pytest.fixture(scope="session", autouse=True)
def _no_indices_are_left() -> Iterator[None]:
    """A server that stays would fill with those of every run."""
    yield
    for settings in servers():
        trio.run(remove_store, settings)
