"""The API against its own description: answers, errors, forms, copies, limits."""

from __future__ import annotations

import copy
import csv
import io
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import msgspec
import pytest
import trio
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from ps2daemon.cli import main
from ps2daemon.model import tables
from ps2daemon.model.coverage import Span
from ps2daemon.model.records import DAY, Ms
from ps2daemon.store.base import Commit
from ps2daemon.store.sqlite import SqliteStore
from ps2daemon.web import app as web_app
from ps2daemon.web import openapi
from ps2daemon.web.endpoints import DESCRIBED, ENDPOINTS
from ps2daemon.web.parameters import MAX_POINTS, MAX_QUERY
from ps2daemon.web.responses import preferred
from ps2daemon.web.server import serve_app
from tests.memory_reader import MemoryReader
from tests.pages import END, FixedClock, client_of, two_weeks

READER = two_weeks()
SCHEMA = openapi.schema()
QUERIES = {
    "worlds": [""],
    "now": ["", "world=10", "world=40"],
    "overview": ["", "world=10&tz=Europe/Berlin", "world=40"],
    "population": [
        "",
        "world=10&from=2026-03-14&to=2026-03-15&step=1h",
        "empire=vs,unknown&step=2h",
        "lines=total&step=2h",
        "unit=share&nso=folded&step=2h",
    ],
    "overlay": [
        "by=week&step=6h",
        "back=3&step=1h&tz=Europe/Berlin",
        "lines=total&by=day&back=2&step=1h",
        "unit=share&nso=folded&by=week&step=1h",
    ],
    "alerts": ["from=-3d", "from=-3d&people=yes", "from=2030-01-01&to=2030-01-02"],
    "locks": ["from=-14d"],
    "notes": ["from=-14d", "from=-14d&world=1"],
    "coverage": ["", "from=-14d", "world=40"],
    "recording": ["", "from=-14d", "world=40"],
    "effect": ["from=-14d", "from=-14d&by=ended", "world=40"],
    "trends/days": ["weeks=1", "weeks=6&world=10", "empire=vs&weeks=2&tz=Europe/Berlin", "world=40"],
    "trends/hours": ["weeks=1", "weeks=6&world=10", "empire=vs&weeks=2&tz=Europe/Berlin", "world=40"],
    "effect/curves": ["from=-14d", "from=-14d&by=ended", "world=40"],
    "trends": ["weeks=1", "weeks=6&world=10", "empire=vs&weeks=2"],
}
LIVE = ",".join(str(world.world_id) for world in tables.worlds().values() if world.live)
WINDOW = "from=2026-03-14T08:00Z&to=2026-03-14T16:00Z"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(READER) as client:
        yield client


def answer_schema(name: str, status: str = "200") -> dict[str, Any]:
    response = SCHEMA["paths"][f"/{name}"]["get"]["responses"][status]
    found: dict[str, Any] = response["content"]["application/json"]["schema"]
    return found


def problems(schema: dict[str, Any], answer: object) -> list[str]:
    validator = Draft202012Validator({**schema, "components": SCHEMA["components"]})
    return [error.message for error in validator.iter_errors(answer)]


# The description


def test_every_endpoint_is_described_or_the_pages_own() -> None:
    assert {endpoint.name for endpoint in DESCRIBED} == set(QUERIES)
    assert {each.name for each in ENDPOINTS if each.answer is None} == {
        "chart",
        "effect/charts",
        "trends/charts",
    }
    assert all(endpoint.sheet is not None for endpoint in DESCRIBED)


def test_every_schema_is_one_and_closed() -> None:
    for name, found in SCHEMA["components"]["schemas"].items():
        Draft202012Validator.check_schema(found)
        assert found["additionalProperties"] is False, name
        assert "  " not in found["description"], name
        assert "array-like" not in found["description"]


async def test_the_description_is_served(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == msgspec.json.decode(msgspec.json.encode(SCHEMA))


@pytest.mark.parametrize("name", QUERIES)
async def test_the_examples_and_limits_of_parameters_are_true(client: httpx.AsyncClient, name: str) -> None:
    parameters = SCHEMA["paths"][f"/{name}"]["get"]["parameters"]
    usual = {"from": "2026-03-01", "to": "2026-03-20", "world": "10", "empire": "vs"}
    usual = {each["name"]: usual[each["name"]] for each in parameters if each["name"] in usual}
    for parameter in parameters:
        of, example = parameter["schema"], parameter["example"]
        assert Draft202012Validator(of).is_valid(example)
        right = [*(example if isinstance(example, list) else [example]), *of.get("enum", [])]
        right += [of[bound] for bound in ("default", "minimum", "maximum") if bound in of]
        wrong = ["x" * 30, ""] + [
            of[bound] + by for bound, by in (("minimum", -1), ("maximum", 1)) if bound in of
        ]
        for value, status in [(value, 200) for value in right] + [(value, 400) for value in wrong]:
            answer = await client.get(f"/api/v1/{name}", params={**usual, parameter["name"]: value})
            assert answer.status_code == status, (parameter["name"], value, answer.text)


# Answers


@pytest.mark.parametrize("name", QUERIES)
async def test_answers_are_as_described(client: httpx.AsyncClient, name: str) -> None:
    schema = answer_schema(name)
    for query in QUERIES[name]:
        answer = await client.get(f"/api/v1/{name}?{query}")
        assert answer.status_code == 200
        body = answer.json()
        assert problems(schema, body) == [], query
        body = shortened(body)
        for place in objects(body):
            # With one field more, or one of those that must be there less, it is refused.
            broken = copy.deepcopy(body)
            at(broken, place)["surprise"] = 1
            assert problems(schema, broken), (query, place)
            required = set(at(body, place)) - {
                "start",
                "end",
                "running",
                "people_at_start",
                "people_at_end",
                "people_later",
                "people_from",
                "people",
                "unit",
                "nso",
            }
            for field in sorted(required)[:3]:
                broken = copy.deepcopy(body)
                del at(broken, place)[field]
                assert problems(schema, broken), (query, place, field)


def shortened(body: Any) -> Any:
    """The same with lists of one or none."""
    if isinstance(body, list):
        return [shortened(each) for each in body[:1]]
    return {name: shortened(value) for name, value in body.items()} if isinstance(body, dict) else body


def objects(body: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where an object is, one of each kind."""
    if isinstance(body, dict):
        yield place
        for name, value in body.items():
            yield from objects(value, (*place, name))
    elif isinstance(body, list) and body:
        yield from objects(body[0], (*place, 0))


def at(body: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        body = body[step]
    return body


async def test_each_kind_of_row_was_among_them(client: httpx.AsyncClient) -> None:
    effect = (await client.get("/api/v1/effect?from=-14d")).json()
    assert all(effect[name] for name in ("effects", "curves", "events"))
    assert any(event["controls"] for event in effect["events"])
    (alert, *_) = (await client.get("/api/v1/alerts?from=-3d&people=yes")).json()["alerts"]
    assert {"people", "start", "end", "people_later"} <= set(alert)
    overlay = (await client.get("/api/v1/overlay?back=3&step=1h")).json()
    assert all(overlay[name] for name in ("earlier", "comparisons", "trends"))


@pytest.mark.parametrize("name", QUERIES)
async def test_errors_are_as_described(client: httpx.AsyncClient, name: str) -> None:
    for status, answer in (
        (400, await client.get(f"/api/v1/{name}?nonsense=1")),
        (406, await client.get(f"/api/v1/{name}", headers={"Accept": "image/png"})),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert problems(answer_schema(name, str(status)), answer.json()) == []


# CSV


@pytest.mark.parametrize(
    ("address", "command"),
    [
        (f"population?{WINDOW}&step=1h", "population --step 1h"),
        (f"overlay?{WINDOW}&step=1h&back=2&tz=Europe/Berlin", "overlay --step 1h --back 2 --tz Europe/Berlin"),
        (f"alerts?{WINDOW}&people=yes&world=10", "alerts --world 10"),
        (f"coverage?{WINDOW}", "coverage"),
        ("effect?from=2026-03-01&to=2026-03-15&by=world", "effect --from 2026-03-01 --to 2026-03-15 --by world"),
        ("trends?to=2026-03-15&weeks=2", "trend --to 2026-03-15 --weeks 2"),
        ("trends/days?to=2026-03-15&weeks=2&empire=vs", "trend --to 2026-03-15 --weeks 2 --by day --empire vs"),
        ("trends/hours?to=2026-03-15&weeks=1&tz=Europe/Berlin", "trend --to 2026-03-15 --weeks 1 --by hour --tz Europe/Berlin"),
        (f"locks?{WINDOW}", "export locks"),
    ],
)  # fmt: skip
async def test_csv_is_that_of_the_command_line(
    client: httpx.AsyncClient, config: Path, address: str, command: str
) -> None:
    name, *rest = command.split()
    window = [] if "--to" in rest else ["--from", "2026-03-14T08:00Z", "--to", "2026-03-14T16:00Z"]

    def told() -> str:
        result = CliRunner().invoke(main, ["--config", str(config), name, *rest, *window, "--format", "csv"])
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    expected = await trio.to_thread.run_sync(told)
    by_header = await client.get(f"/api/v1/{address}", headers={"Accept": "text/csv"})
    by_link = await client.get(f"/api/v1/{address}&format=csv", headers={"Accept": "text/html,*/*;q=0.8"})
    assert by_header.text == by_link.text == expected
    assert len(expected.splitlines()) > 1
    assert by_header.headers["content-type"] == "text/csv; charset=utf-8"
    file = address.partition("?")[0].replace("/", "-")
    assert by_header.headers["content-disposition"] == f'attachment; filename="{file}.csv"'


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same history in SQLite."""
    folder = tmp_path_factory.mktemp("api")
    file = folder / "config.toml"
    file.write_text(
        '[census]\nservice_id = "s"\n[[stream]]\nurl = "ws://127.0.0.1:1"\nworlds = [1, 10]\n'
        '[queue]\ndirectory = "queue"\n[store]\npath = "ps2.db"\n'
    )

    async def fill() -> None:
        store = await SqliteStore.open(folder / "ps2.db")
        await store.commit(
            Commit(
                sessions=READER.sessions,
                alerts=READER.stored_alerts,
                locks=READER.stored_locks,
                spans=READER.stored_spans,
                records_until=END,
            )
        )
        await store.aclose()

    trio.run(fill)
    return file


@pytest.mark.parametrize("terms", ["lines=total", "unit=share", "nso=folded", "unit=share&nso=folded&empire=vs", "lines=total&unit=share&empire=vs,nc"])  # fmt: skip
@pytest.mark.parametrize("by", ["none", "day"])
async def test_series_are_what_the_chart_shows(client: httpx.AsyncClient, terms: str, by: str) -> None:
    """In whatever terms, of each world and in JSON and CSV."""
    asked = f"from=-6h&step=1h&{terms}" + ("" if by == "none" else f"&by={by}&back=2")
    name = "population" if by == "none" else "overlay"
    body = (await client.get(f"/api/v1/{name}?{asked}")).json()
    rows = list(csv.DictReader(io.StringIO((await client.get(f"/api/v1/{name}?{asked}&format=csv")).text)))
    for world in (1, 10):
        view = (await client.get(f"/api/v1/chart?world={world}&{asked}")).json()["view"]
        told = {(0, row["faction_id"]): row["online"] for row in body["series"] if row["world_id"] == world}
        for earlier in body.get("earlier", []):
            told |= {
                (earlier["back"], row["faction_id"]): row["online"]
                for row in earlier["series"]
                if row["world_id"] == world
            }
        shown = {
            (line["back"], None if line["faction_id"] < 0 else line["faction_id"]): [
                None if value is None else round(value, 4) for value in line["online"]
            ]
            for line in view["lines"]
        }
        assert told == shown
        assert len(shown) == len({faction for _, faction in shown}) * (1 if by == "none" else 3)
        own = [row for row in rows if row["world_id"] == str(world)]
        for faction in {faction for _, faction in shown}:
            values = [
                row["online"] for row in own if row["faction_id"] == ("" if faction is None else str(faction))
            ]
            assert values[:6] == ["" if value is None else str(value) for value in shown[0, faction]]
        compared = [
            {
                key: None if key == "faction_id" and row[key] < 0 else row[key]
                for key in row
                if key not in ("label", "period")
            }
            for row in view["comparisons"]
        ]
        assert [row for row in body.get("comparisons", []) if row["world_id"] == world] == compared
    expected = (
        {} if "total" in terms else {name: value for name, value in parse_qsl(terms) if name != "empire"}
    )
    assert {name: body[name] for name in ("unit", "nso") if name in body} == expected
    assert {name: rows[0][name] for name in ("unit", "nso") if name in rows[0]} == expected


async def test_all_together_are_the_sum_of_the_empires(client: httpx.AsyncClient) -> None:
    asked = "/api/v1/population?from=-6h&step=1h"
    whole = {each["world_id"]: each for each in (await client.get(f"{asked}&lines=total")).json()["series"]}
    apart = (await client.get(asked)).json()["series"]
    for world, total in whole.items():
        rows = [each["online"] for each in apart if each["world_id"] == world]
        assert total["faction_id"] is None
        assert total["online"] == [
            None if None in values else sum(values) for values in zip(*rows, strict=True)
        ]
        assert total["online"][0] > 0


async def test_nothing_is_left_of_nso_that_are_folded(client: httpx.AsyncClient) -> None:
    for address in ("population", "overlay"):
        answer = await client.get(f"/api/v1/{address}?nso=folded&empire=nso&step=1h")
        assert answer.status_code == 400
        assert "no other is asked for" in answer.json()["error"]


async def test_csv_of_the_view_of_now_is_what_it_shows(client: httpx.AsyncClient) -> None:
    shown = (await client.get("/api/v1/overview")).json()
    text = (await client.get("/api/v1/overview?format=csv")).text
    assert text.splitlines()[0] == (
        "world_id,name,at,people,VS,NC,TR,NSO,unknown,a_day_ago,a_week_ago,"
        "VS_a_day_ago,NC_a_day_ago,TR_a_day_ago,NSO_a_day_ago,unknown_a_day_ago,"
        "VS_a_week_ago,NC_a_week_ago,TR_a_week_ago,NSO_a_week_ago,unknown_a_week_ago"
    )
    *worlds, together = csv.DictReader(io.StringIO(text))
    assert [row["world_id"] for row in worlds] == [str(world["world_id"]) for world in shown["worlds"]]
    for row, world in zip([*worlds, together], [*shown["worlds"], shown["together"]], strict=True):
        assert row["people"] == ("" if world["people"] is None else str(world["people"]))
        people = [row[name] for name in ("VS", "NC", "TR", "NSO", "unknown")]
        assert people == [""] * 5 if world["at"] is None else sum(map(int, people)) == world["people"]
        day_ago = [each["people"] for each in world["ago"] if each["days"] == 1]
        assert row["a_day_ago"] == ("" if day_ago in ([], [None]) else str(day_ago[0]))
        then = [row[f"{name}_a_day_ago"] for name in ("VS", "NC", "TR", "NSO", "unknown")]
        assert then == [""] * 5 if row["a_day_ago"] == "" else sum(map(int, then)) == day_ago[0] > 0
    assert together["world_id"] == ""
    assert int(together["people"]) > 0


async def test_csv_of_curves_is_what_effect_answers(client: httpx.AsyncClient) -> None:
    window = "from=2026-03-01&to=2026-03-15"
    answer = await client.get(f"/api/v1/effect/curves?{window}&by=world&format=csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="effect-curves.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    curves = (await client.get(f"/api/v1/effect?{window}")).json()["curves"]
    assert len(curves) > 1
    for curve in curves:
        mine = [row for row in rows if row["event"] == curve["event"] and not row["of"]]
        assert [int(row["minute"]) for row in mine] == list(range(-30, 61))
        assert {int(row["n"]) for row in mine} == {curve["n"]}
        for name in ("events", "low", "high", "controls"):
            assert [float(row[name]) for row in mine] == curve[name]
    of_one = (await client.get(f"/api/v1/effect?{window}&world=10")).json()["curves"][0]
    part = [row for row in rows if (row["of"], row["event"]) == ("Wainwright", of_one["event"])]
    assert [float(row["events"]) for row in part] == of_one["events"]


async def test_csv_of_worlds_and_now(client: httpx.AsyncClient) -> None:
    worlds = list(csv.DictReader(io.StringIO((await client.get("/api/v1/worlds?format=csv")).text)))
    assert [row["name"] for row in worlds] == ["Osprey", "Wainwright"]
    rows = list(csv.DictReader(io.StringIO((await client.get("/api/v1/now?world=10,40&format=csv")).text)))
    body = (await client.get("/api/v1/now?world=10")).json()["worlds"][0]
    assert [(int(row["faction_id"]), int(row["online"])) for row in rows[:-1]] == [
        (each["faction_id"], each["online"]) for each in body["online"]
    ]
    assert rows[-1] == {"world_id": "40", "name": "SolTech", "at": "", "faction_id": "", "online": ""}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV ; q=1", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.5, application/json;q=0.4", "text/csv"),
        ("text/csv;q=0.4, application/json", "application/json"),
        ("text/csv;q=0.4, */*;q=0.5", "application/json"),
        ("*/*, application/json;q=0", "text/csv"),
        ("text/csv;q=0", None),
        ("image/png", None),
        ("nonsense", "application/json"),
        ("text/csv;q=NaN", "application/json"),
        ("text/csv;q=1e9, nonsense/x;q=-1,,;", "application/json"),
    ],
)
def test_what_is_liked_best(accept: str, expected: str | None) -> None:
    assert preferred(accept, ("application/json", "text/csv")) == expected


async def test_the_pages_own_answers_are_no_tables(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/chart?world=10", headers={"Accept": "text/csv"})
    assert (answer.status_code, answer.json()["error"]) == (
        406,
        "this address answers application/json: let Accept name that, or */*",
    )
    assert (await client.get("/api/v1/chart?world=10&format=csv")).status_code == 400


# Copies


@pytest.mark.parametrize(
    ("query", "control"),
    [
        (f"population?{WINDOW}&step=1h", "max-age=600"),
        (f"coverage?{WINDOW}", "max-age=600"),
        ("population?from=2026-03-14&to=2026-03-15T17:00Z", "no-cache"),
        ("population?from=-3d&to=-2d", "no-cache"),
        ("population?from=2026-03-10&to=-2d", "no-cache"),
        ("population", "no-cache"),
        ("now", "no-cache"),
        ("worlds", "no-cache"),
        ("trends?to=2026-03-12&weeks=1", "max-age=600"),
        ("trends?weeks=1", "no-cache"),
        # Its controls reach four weeks beyond, of which most is still to come.
        ("effect?from=2026-03-02&to=2026-03-03", "no-cache"),
    ],
)
async def test_only_what_is_settled_is_kept_unasked(query: str, control: str) -> None:
    async with client_of(Reaching(READER, END), END + 3 * 3_600_000) as client:
        assert (await client.get(f"/api/v1/{query}")).headers["cache-control"] == control
    # What waits in the queue is still to come, however late it is.
    async with client_of(Reaching(READER, END - 5 * DAY), END + 365 * DAY) as client:
        assert (await client.get(f"/api/v1/{query}")).headers["cache-control"] == "no-cache"


class Reaching(MemoryReader):
    """Has records up to a time."""

    def __init__(self, reader: MemoryReader, until: Ms) -> None:
        super().__init__(reader.sessions, reader.stored_spans, reader.stored_alerts, reader.stored_locks)
        self._until = until

    async def records_until(self) -> Ms | None:
        return self._until


async def test_a_copy_that_is_right_is_304_with_the_headers_of_the_answer() -> None:
    async with client_of(Reaching(READER, END)) as client:
        path = f"/api/v1/population?{WINDOW}&step=1h"
        first = await client.get(path)
        tag = first.headers["etag"]
        for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            again = await client.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            for name in ("etag", "cache-control", "vary", "content-security-policy"):
                assert again.headers[name] == first.headers[name]
            assert "content-type" not in again.headers
        as_csv = await client.get(path, headers={"Accept": "text/csv", "If-None-Match": tag})
        assert as_csv.status_code == 200
        assert as_csv.headers["etag"] != tag
        assert (await client.get("/api/v1/worlds")).headers["vary"] == "Accept"
        large = f"{path[:-2]}1m"
        whole = await client.get(large)
        assert whole.headers["vary"] == "Accept, Accept-Encoding"
        again = await client.get(large, headers={"If-None-Match": whole.headers["etag"]})
        assert (again.status_code, again.headers["vary"]) == (304, "Accept, Accept-Encoding")


async def test_head_is_get_without_a_body(nursery: trio.Nursery) -> None:
    serve = partial(
        serve_app, web_app.page_app(READER, FixedClock()), host="127.0.0.1", port=0, stopping=trio.Event()
    )
    port = await nursery.start(serve)
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client:
        for path in ("/", "/static/page.css", "/api/v1/worlds", "/api/v1/openapi.json", "/api/v1/worlds?x=1"):
            get, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (get.status_code, b"")
            skipped = {"date"}
            assert {k: v for k, v in head.headers.items() if k not in skipped} == {
                k: v for k, v in get.headers.items() if k not in skipped
            }
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api/v1/population", "/api/v1/openapi.json", "/static/page.css"])
async def test_other_methods_are_told_what_is_allowed(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.logs_errors
async def test_a_defect_is_500_as_json() -> None:
    class Broken(MemoryReader):
        async def worlds(self) -> list[int]:
            raise RuntimeError("secret")

    transport = httpx.ASGITransport(app=web_app.page_app(Broken(), FixedClock()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://page.test") as client:
        answer = await client.get("/api/v1/worlds")
    assert answer.status_code == 500
    assert answer.json() == {"error": "this is a defect of ps2daemon: its log has the details"}


# Limits


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("population?from=2010-01-01&to=2026-01-01&step=1d", "the window is too long: 5,844 days, and at most 3,660"),
        ("coverage?from=2010-01-01&to=2026-01-01", "the window is too long: 5,844 days, and at most 3,660"),
        ("locks?from=2024-01-01&to=2026-01-01", "the window is too long: 731 days, and at most 400"),
        ("alerts?from=2024-01-01&to=2026-01-01", "the window is too long: 731 days, and at most 400"),
        ("effect?from=2024-01-01&to=2026-01-01", "the window is too long: 731 days, and at most 400"),
        ("effect?from=-400d&world=1,10,19,40,13,17,3", "too much at once: 400 days of 7 worlds, and at most 2,400 days of a world"),
        ("alerts?from=-400d&people=yes&world=1,10", "too much at once: 1,152,000 points"),
        ("trends?weeks=104&world=1,10,19,40,13,17,3", "too much at once: 104 weeks of 7 worlds, and at most 624 weeks of a world"),
        ("trends/hours?weeks=52&world=1,10,19,40,13,17,3", "too much at once: 104 weeks of 7 worlds, and at most 624 weeks of a world"),
        ("population?from=-28d&step=1m&world=10,1,19", "too much at once: 604,800 points"),
        ("overlay?from=-28d&step=15m&back=52&world=10", "too much at once: 712,320 points"),
        ("chart?from=-28d&step=15m&back=52&world=10&by=day", "too much at once: 712,320 points"),
        ("population?world=" + ",".join(map(str, (*range(3, 20), 24))), "that is 18 worlds, and at most 16"),
        ("population?" + "world=10&" * 600, f"the query is 5,400 bytes long, and at most {MAX_QUERY:,}"),
    ],
)  # fmt: skip
async def test_what_costs_too_much_is_told_what_to_ask_instead(
    client: httpx.AsyncClient, query: str, message: str
) -> None:
    answer = await client.get(f"/api/v1/{query}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(message)
    assert "; " in answer.json()["error"]


async def test_what_is_allowed_is_answered(client: httpx.AsyncClient) -> None:
    points = 400 * 24 * 5 * 8
    assert points < MAX_POINTS
    for query in (
        "population?from=-400d&step=1h",
        f"trends?weeks=104&world={LIVE}",
        f"trends/days?weeks=104&world={LIVE}",
        f"trends/hours?weeks=52&world={LIVE}",
        f"effect?from=-400d&world={LIVE}",
        "alerts?from=-400d",
    ):
        assert (await client.get(f"/api/v1/{query}")).status_code == 200


class Held(MemoryReader):
    """Asks in threads that end when they are let go, as those of a store do."""

    def __init__(self) -> None:
        super().__init__((), [Span(10, END - DAY, END, "start")])
        self.go = threading.Event()
        self.running = 0
        self.most = 0

    async def spans(
        self, worlds: Collection[int] | None = None, start: Ms | None = None, end: Ms | None = None
    ) -> list[Span]:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.to_thread.run_sync(self.go.wait)
        finally:
            self.running -= 1
        return await super().spans(worlds, start, end)


async def asked_together(client: httpx.AsyncClient, number: int, meanwhile: Callable[[], None]) -> list[int]:
    codes: list[int] = []

    async def ask() -> None:
        answer = await client.get("/api/v1/worlds")
        codes.append(answer.status_code)
        if answer.status_code == 503:
            assert answer.headers["retry-after"] == "10"

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(ask)
        await trio.sleep(0.4)
        meanwhile()
    return codes


async def test_what_takes_too_long_is_503_and_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_app, "REQUEST_SECONDS", 0.1)
    held = Held()
    with trio.fail_after(10):
        async with client_of(held) as client:
            codes = await asked_together(client, 12, held.go.set)
            assert codes == [503] * 12
            assert (held.most, held.running) == (web_app.READERS, 0)
            # The places are free again.
            assert (await client.get("/api/v1/worlds")).status_code == 200


async def test_too_many_at_once_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_app, "WAITING", 3)
    held = Held()
    with trio.fail_after(10):
        async with client_of(held) as client:
            codes = await asked_together(client, 12, held.go.set)
    assert sorted(codes) == [200] * (web_app.READERS + 3) + [503] * (12 - web_app.READERS - 3)
