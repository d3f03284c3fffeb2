"""Inputs that are like right ones: the same keys, with other values, or without some of them, or with more."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st

from ps2daemon.model.records import AFTERS, LAST_MS, CoverageRecord, EventRecord, Record
from ps2daemon.settings_keys import KEYS
from tests.records import T0

VALUES: Final[st.SearchStrategy[Any]] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(0, 300).map(str),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        ["true", "all", "NULL", "9" * 400, "\0", "\x1b[2J", "1e999", "4294967296", "253402300800", [], {}, [[[]]], 10**400, -(2**63), "x" * 3_000]
    ),
)  # fmt: skip


def like(value: object) -> st.SearchStrategy[Any]:
    """JSON that is like `value`."""
    if isinstance(value, dict):
        known = st.fixed_dictionaries({}, optional={key: like(inner) for key, inner in value.items()})
        more = st.dictionaries(st.sampled_from(list(value)) | st.text(max_size=6), VALUES, max_size=2)
        whole = st.fixed_dictionaries({key: like(inner) for key, inner in value.items()})
        return st.one_of(
            st.just(value), whole, known, st.builds(lambda one, two: one | two, whole, more), VALUES
        )
    if isinstance(value, list):
        return st.one_of(st.just(value), st.lists(st.one_of(*map(like, value), VALUES), max_size=4), VALUES)
    return st.just(value) | VALUES


def documents(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """JSON like one of the seeds, in one of two spellings."""
    return st.builds(
        lambda value, ascii: json.dumps(value, ensure_ascii=ascii).encode("utf-8", "replace"),
        st.one_of([like(json.loads(seed)) for seed in seeds]),
        st.booleans(),
    )


def records(*payloads: bytes) -> st.SearchStrategy[Record]:
    """Records as a frame takes them, most of them of about one time and of few characters."""
    times = st.integers(0, LAST_MS) | st.integers(-400, 400).map(lambda minutes: T0 + minutes * 60_000)
    payload = documents(*payloads).filter(lambda found: len(found) < 60_000)
    return st.one_of(
        st.builds(EventRecord, times, payload),
        st.builds(
            lambda world, ends, after: CoverageRecord(world, min(ends), max(ends), after),
            st.sampled_from([10, 40]) | st.integers(1, 2**32 - 1),
            st.tuples(times, times),
            st.sampled_from(AFTERS),
        ),
    )


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else str(value)


_WRITTEN: Final = st.one_of(
    VALUES.filter(lambda value: value is not None),
    st.sampled_from(["http://127.0.0.1:1", "ws://a..b/", "https://[::1]:9200", "~nobody/x", "sqlite", "elasticsearch", "ps2", "127.0.0.1", "."]),
    st.lists(st.integers(-1, 50), max_size=3),
)  # fmt: skip


def configurations() -> st.SearchStrategy[bytes]:
    """TOML with sections and keys that are there."""

    def section(name: str) -> st.SearchStrategy[str]:
        keys = st.dictionaries(st.sampled_from(list(KEYS[name])), _WRITTEN, max_size=3)
        head = f"[[{name}]]" if name == "stream" else f"[{name}]"
        return keys.map(
            lambda found: "\n".join([head, *(f"{key} = {_toml(value)}" for key, value in found.items())])
        )

    return (
        st.lists(st.sampled_from(list(KEYS)), unique=True, max_size=3)
        .flatmap(lambda names: st.tuples(*map(section, names)))
        .map(lambda found: "\n".join(found).encode("utf-8", "replace"))
    )
