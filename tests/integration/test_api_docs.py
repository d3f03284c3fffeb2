"""Every example of docs/api.md: its request is answered, and in the shape that is shown there; and its limits are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from ps2daemon.analysis.alerts import STEP
from ps2daemon.analysis.overlay import MAX_BACK
from ps2daemon.analysis.population import MAX_BUCKETS
from ps2daemon.analysis.trend import MAX_WEEKS
from ps2daemon.model.records import DAY
from ps2daemon.web import app, parameters
from ps2daemon.web.endpoints import DESCRIBED
from tests.pages import client_of, two_weeks

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
READER = two_weeks()


class Example(NamedTuple):
    """A request, and the answer that the page shows."""

    url: str
    headers: dict[str, str]
    kind: str
    answer: str

    @property
    def name(self) -> str:
        return self.url.partition("?")[0].partition("/api/v1/")[2]


def examples() -> list[Example]:
    found = []
    for command, kind, answer in re.findall(
        r"```sh\n(curl [^\n]*)\n```\n```(\w+)\n(.*?)```", TEXT, re.DOTALL
    ):
        program, *words = shlex.split(command)
        assert program == "curl"
        headers = {}
        while words[0] == "-H":
            name, _, value = words[1].partition(": ")
            headers[name] = value
            words = words[2:]
        (url,) = words
        found.append(Example(url, headers, kind, answer))
    return found


def fits(shown: Any, real: Any) -> bool:
    """Whether a shortened answer may be one of the real kind: the same fields, and each element like some real one."""
    if shown is None or real is None:
        return True
    if isinstance(shown, dict):
        return (
            isinstance(real, dict)
            and list(shown) == list(real)
            and all(fits(shown[name], real[name]) for name in shown)
        )
    if isinstance(shown, list):
        return isinstance(real, list) and all(any(fits(each, other) for other in real) for each in shown)
    if isinstance(shown, str):
        return isinstance(real, str)
    return isinstance(shown, bool) == isinstance(real, bool) and isinstance(real, (int, float))


def test_there_is_one_for_each_address() -> None:
    assert len(examples()) == TEXT.count("```sh")
    assert {each.name for each in examples()} == {each.name for each in DESCRIBED}


@pytest.mark.parametrize("example", examples(), ids=lambda example: f"{example.name}-{example.kind}")
async def test_the_answer_has_the_shape_that_is_shown(example: Example) -> None:
    assert example.url.startswith("http://127.0.0.1:8020/api/v1/")
    async with client_of(READER) as client:
        answer = await client.get(example.url, headers=example.headers)
    if example.kind == "csv":
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.text.startswith(example.answer)
        return
    shown, real = msgspec.json.decode(example.answer), answer.json()
    assert ("error" in shown) == (answer.status_code == 400)
    assert fits(shown, real)
    if "error" in shown:
        assert shown == real


def test_a_shape_that_is_another_does_not_fit() -> None:
    real = {"a": [{"b": 1, "c": None}], "d": "x"}
    assert fits({"a": [], "d": "y"}, real)
    assert fits({"a": [{"b": 2, "c": 3.5}], "d": "y"}, real)
    wrongs: list[Any] = [
        {"a": []},
        {"d": "y", "a": []},
        {"a": [{"b": "1", "c": None}], "d": "y"},
        {"a": [{"b": True, "c": None}], "d": "y"},
        {"a": {"b": 1}, "d": "y"},
        {"a": [{"b": 1, "c": None, "e": 1}], "d": "y"},
    ]
    for wrong in wrongs:
        assert not fits(wrong, real), wrong


@pytest.mark.parametrize(
    "row",
    [
        f"| query | {parameters.MAX_QUERY:,} bytes |",
        f"| worlds | {parameters.MAX_WORLDS} |",
        f"| {parameters.MAX_POINTS:,} | instants by worlds",
        f"| instants of a series | {MAX_BUCKETS:,} |",
        f"`coverage` | {parameters.MAX_DAYS:,} days |",
        f"`effect` | {parameters.MAX_LISTED_DAYS} days | `alerts` with people: {MAX_BUCKETS // 2 * STEP // DAY} days |",
        f"| days by worlds of `effect` | {parameters.MAX_WORLD_DAYS:,} |",
        f"| weeks by worlds of `trends` | {parameters.MAX_WORLD_WEEKS:,} |",
        f"| `back`, `weeks` | {MAX_BACK}, {MAX_WEEKS} |",
        f"| time | {app.REQUEST_SECONDS} s |",
        f"| requests at once | {app.READERS} that read, and {app.WAITING} that wait |",
        f"`max-age={app.MAX_AGE}`",
    ],
)
def test_the_limits_are_those_of_the_code(row: str) -> None:
    assert row in TEXT
