"""Whatever a stranger writes into an address, the answer is 200 or 400, and never a 500."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, HOUR
from ps2daemon.web.endpoints import ENDPOINTS, Endpoint, recording
from ps2daemon.web.parameters import MAX_QUERY
from tests.memory_reader import MemoryReader, session
from tests.pages import END, client_of

READER = MemoryReader(
    [
        session("a", END - 2 * HOUR, END - HOUR),
        session("b", END - HOUR, None),
        session("c", None, END - HOUR),
    ],
    [Span(10, END - DAY, END - HOUR, "start"), Span(10, END - HOUR // 2, END, "connection")],
)
ALL = (*ENDPOINTS, recording(None))
NAMES = sorted({parameter.name for endpoint in ALL for parameter in endpoint.takes})
NASTY = (
    "", " ", "\0", "a\0b", "NaN", "nan", "inf", "-inf", "1e308", "0x10", "-0", "+1", "1_0", "٣", "𝟙", "²", "9" * 400, "-1", "0", "1.5",
    "true", "null", "[]", "{}", "%", "%00", "\ud83d".encode("utf-8", "surrogatepass").decode("latin-1"), "\N{RIGHT-TO-LEFT OVERRIDE}", "'; DROP TABLE sessions; --",
    "<script>", "../../etc/passwd", "/etc/passwd", "..", ".", "Europe", "Europe/", "europe/berlin", "posixrules", "localtime", "right/UTC", "Factory", "tzdata.zoneinfo",
    "tzdata/zoneinfo", "zone.tab", "UTC\0", "Etc/GMT+12", "Pacific/Apia", "0001-01-01", "9999-12-31", "9999-12-31T23:59:59.999999", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-23:59", "1970-01-01", "1969-12-31", "2200-01-01", "2200-01-01T00:00:00+00:00", "2026-03-29T02:30", "2026-W01", "2026-W53-7", "20260301",
    "2026-02-30", "24:00", "2026-01-01T24:00", "2026-03-01T12:00:60Z", "2026-03-01T12:00:00+99:99", "now", "-7d", "-0s", "-999999999w", "-1d ", "--1d", "-1y", "0s", "1s",
    "999999999w", "366d", "1d", "7m", "auto", "10", "10,10", ",", "10,", "Wainwright", "miller", "101", "4294967296", "1" + "0" * 30, "vs", "VS,nc", "5", "unknown", "day",
    "week", "none", "world", "ended", "yes", "json", "csv", "dark", "total", "52", "104", "53", "105",
)  # fmt: skip
values = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=60),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(str),
)
pairs = st.tuples(st.one_of(st.sampled_from(NAMES), st.sampled_from(NASTY), st.text(max_size=20)), values)
queries = st.one_of(
    st.lists(pairs, max_size=6).map(lambda found: urlencode(found, errors="replace")),
    st.dictionaries(st.sampled_from(NAMES), values, max_size=4).map(lambda found: urlencode(found, errors="replace")),
    st.binary(max_size=200).map(lambda found: quote(found, safe="&=%;+")),
    st.tuples(st.sampled_from(NAMES), st.integers(1, 3_000)).map(lambda found: f"{found[0]}=1&" * found[1]),
    st.tuples(st.sampled_from(NAMES), st.integers(1, 2 * MAX_QUERY)).map(lambda found: f"{found[0]}=" + "9" * found[1]),
)  # fmt: skip


OTHERS = (
    {"world": "10"},
    {"from": "1970-01-01", "to": "1970-01-20", "step": "1d", "world": "10"},
    {"from": "2199-12-12", "to": "2200-01-01", "step": "1d", "tz": "Pacific/Apia", "world": "10"},
)
"""At both ends of time."""


async def ask(client: httpx.AsyncClient, path: str, query: str) -> int:
    answer = await client.get(httpx.URL(f"http://page.test/api/v1/{path}").copy_with(query=query.encode()))
    assert answer.status_code in (200, 400), (query, answer.text)
    if answer.status_code == 400:
        body = answer.json()
        assert list(body) == ["error"]
        assert 0 < len(body["error"]) < 400
        assert body["error"].isprintable()
    return answer.status_code


@pytest.mark.parametrize("endpoint", [endpoint.name for endpoint in ALL])
@settings(max_examples=60)
@given(query=queries)
async def test_a_query_is_answered_or_refused(endpoint: str, query: str) -> None:
    async with client_of(READER) as client:
        await ask(client, endpoint, query)


@pytest.mark.parametrize("endpoint", ALL, ids=lambda endpoint: endpoint.name)
async def test_each_nasty_value_of_each_parameter(endpoint: Endpoint[Any]) -> None:
    known = {parameter.name for parameter in endpoint.takes}
    answered = 0
    async with client_of(READER) as client:
        for parameter in endpoint.takes:
            for value in NASTY:
                for others in OTHERS:
                    kept = {name: text for name, text in others.items() if name in known - {parameter.name}}
                    query = urlencode([(parameter.name, value), *kept.items()], errors="replace")
                    answered += await ask(client, endpoint.name, query) == 200
    assert answered >= 2 * len(endpoint.takes), "some of these are right, and must come to the store"
