"""The page and its JSON API, asked over ASGI."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Collection
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import pytest
import trio
from starlette.exceptions import HTTPException

from ps2daemon.cli import serve as serve_module
from ps2daemon.config import ElasticsearchSettings, StoreSettings, WebSettings
from ps2daemon.daemon import open_store
from ps2daemon.errors import StoreUnavailable, UsageError
from ps2daemon.model.alerts import Alert
from ps2daemon.model.records import DAY, HOUR, MINUTE, Ms
from ps2daemon.web.app import FILES, page_app
from ps2daemon.web.bundle import ChartLibrary, charts_installed
from ps2daemon.web.pictures import WAITING, Pictures
from ps2daemon.web.shell import FRAME, VIEWS
from tests.fuzz.asgi import get
from tests.memory_reader import MemoryReader
from tests.pages import END, FixedClock, client_of, two_weeks
from tests.synthetic import fortnight

READER = fortnight(END, worlds=(1, 10), days=3, people=20, gaps=((30 * HOUR, 3 * HOUR),))
HOSTILE = "<img src=x onerror=alert(1)></script>"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(READER) as client:
        yield client


async def test_population_is_to_the_letter(client: httpx.AsyncClient) -> None:
    answer = await client.get(
        "/api/v1/population",
        params={
            "world": "10",
            "from": "2026-03-14T12:00:00Z",
            "to": "2026-03-14T12:10:00Z",
            "step": "5m",
            "empire": "vs",
        },
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "step_s": 300,
        "times": ["2026-03-14T12:00:00Z", "2026-03-14T12:05:00Z"],
        "series": [{"world_id": 10, "faction_id": 1, "online": [None, None]}],
    }


async def test_the_defaults_are_the_last_day_of_every_world(client: httpx.AsyncClient) -> None:
    body = (await client.get("/api/v1/population")).json()
    assert body["step_s"] == 120
    assert len(body["times"]) == 720
    assert body["times"][-1] == "2026-03-15T18:00:00Z"
    assert {series["world_id"] for series in body["series"]} == {1, 10}


async def test_worlds_and_now(client: httpx.AsyncClient) -> None:
    body = (await client.get("/api/v1/worlds")).json()
    assert body["worlds"][1] == {
        "world_id": 10,
        "name": "Wainwright",
        "recorded_from": "2026-03-12T18:00:00Z",
        "recorded_until": "2026-03-15T18:00:00Z",
    }
    (now,) = (await client.get("/api/v1/now", params={"world": "10"})).json()["worlds"]
    assert now["at"] == "2026-03-15T17:59:59.999Z"
    assert now["total"] == sum(each["online"] for each in now["online"]) > 0


async def test_overlay(client: httpx.AsyncClient) -> None:
    body = (
        await client.get(
            "/api/v1/overlay",
            params={"world": "10", "by": "day", "back": "2", "step": "1h", "tz": "Europe/Berlin"},
        )
    ).json()
    assert [each["back"] for each in body["earlier"]] == [1, 2]
    assert body["time_zone"] == "Europe/Berlin"
    assert len(body["earlier"][0]["series"]) == len(body["series"])
    assert None in body["earlier"][0]["series"][0]["online"], "the gap lies in the day before"


async def test_alerts_locks_and_coverage(client: httpx.AsyncClient) -> None:
    window = {"world": "10", "from": "-3d"}
    alerts = (await client.get("/api/v1/alerts", params=window)).json()["alerts"]
    assert len(alerts) == len([alert for alert in READER.stored_alerts if alert.world_id == 10])
    locks = (await client.get("/api/v1/locks", params=window)).json()["locks"]
    assert {lock["alert_id"] for lock in locks} <= {alert["alert_id"] for alert in alerts}
    coverage = (await client.get("/api/v1/coverage", params={"from": "-2d", "to": "-1d"})).json()
    assert [span["after"] for span in coverage["coverage"]] == ["start", "connection"] * 2
    assert coverage["covered"] == [
        {"world_id": 1, "share": 0.875},
        {"world_id": 10, "share": 0.875},
    ]


async def test_a_chart_with_what_lies_behind_it(client: httpx.AsyncClient) -> None:
    body = (
        await client.get("/api/v1/chart", params={"world": "10", "from": "-2d", "by": "day", "theme": "dark"})
    ).json()
    assert body["spec"]["width"] == "container"
    view = body["view"]
    assert view["name"] == "Wainwright"
    assert [gap["reason"] for gap in view["unrecorded"]] == ["the connection was lost"]
    size = (view["to"] - view["from"]) // view["step"]
    assert {len(line["online"]) for line in view["lines"]} == {size}
    assert {line["period"] for line in view["lines"]} == {"now", "1 day earlier"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("population?from=now&to=-1h", "the window is reversed: let `to` be later than `from`"),
        ("population?from=-1h&to=-1h", "the window is empty: let `to` be later than `from`"),
        ("population?from=1980-01-01&step=1m", "the window is too long"),
        ("overlay?from=-28d&step=1m&back=9&by=day", "too much at once: 4,032,000 points"),
        ("population?tz=Mars/Olympus", "'Mars/Olympus' is no time zone"),
        ("population?tz=../../etc/passwd", "is no time zone"),
        ("population?world=Nowhere", "'Nowhere' is no world"),
        ("population?empire=xx", "'xx' is no empire"),
        ("population?step=0s", "'0s' is no step"),
        ("population?from=yesterday", "'yesterday' is no time"),
        ("population?form=-1h", "'form' is no parameter here; it takes world, from, to, step, tz, empire"),
        ("population?from=-1h&from=-2h", "from is given more than once"),
        ("overlay?by=year", "by can't be 'year'; it takes day, week"),
        ("overlay?back=0", "back can't be '0'; it takes a whole number, 1 to 52"),
        ("overlay?back=53", "back can't be '53'; it takes a whole number, 1 to 52"),
        ("overlay?back=-1", "back can't be '-1'"),
        ("overlay?back=%F0%9D%9F%99", "it takes a whole number, 1 to 52"),
        ("chart", "a chart shows one world"),
        ("chart?world=10&theme=pink", "theme can't be 'pink'; it takes light, dark"),
        ("alerts?from=now&to=-1h", "the window is reversed"),
        ("worlds?world=10", "'world' is no parameter here"),
    ],
)
async def test_bad_input_is_one_clear_line(client: httpx.AsyncClient, path: str, message: str) -> None:
    answer = await client.get(f"/api/v1/{path}")
    assert answer.status_code == 400
    body = answer.json()
    assert list(body) == ["error"]
    assert message in body["error"]
    assert "\n" not in body["error"]
    assert len(body["error"]) < 300


async def test_what_is_not_there_is_json_too(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/nothing")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
    answer = await client.post("/api/v1/population")
    assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})


async def test_a_store_that_is_away_is_503() -> None:
    class Away(MemoryReader):
        async def worlds(self) -> list[int]:
            raise StoreUnavailable("the store is away:\nit answers nothing")

    async with client_of(Away()) as client:
        answer = await client.get("/api/v1/worlds")
    assert answer.status_code == 503
    assert answer.json() == {"error": "the store is away: it answers nothing"}


async def test_an_empty_store_has_no_worlds() -> None:
    async with client_of(MemoryReader()) as client:
        assert (await client.get("/api/v1/worlds")).json() == {"worlds": []}
        assert (await client.get("/api/v1/population")).json()["series"] == []
        chart = (await client.get("/api/v1/chart", params={"world": "10"})).json()
    assert chart["view"]["share"] == 0
    assert [gap["reason"] for gap in chart["view"]["unrecorded"]] == ["it has never been recorded"]


@pytest.mark.parametrize(
    "path",
    [*FILES, *(view.path for view in VIEWS), "/api/v1/worlds", "/api/v1/nothing", "/api/v1/population?tz=x"],
)
async def test_everything_has_a_policy_that_allows_own_files_only(
    client: httpx.AsyncClient, path: str
) -> None:
    headers = (await client.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_own_files_name_no_other_host_and_make_no_markup() -> None:
    folder = files("ps2daemon.web").joinpath("static")
    served = {name for name, _ in FILES.values()} | {view.file for view in VIEWS} | {FRAME}
    assert served == {each.name for each in folder.iterdir()}
    for name in served:
        text = folder.joinpath(name).read_text()
        assert not re.search(r"(https?:)?//[a-z]", text.replace("http://www.w3.org/2000/svg", "")), name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text
        ), name
        assert not re.search(r"<[^>]+ (style|on[a-z]+)=", text), name


async def test_a_copy_that_is_still_right_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/static/page.css")
    again = await client.get("/static/page.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    changed = await client.get("/static/page.css", headers={"If-None-Match": '"other"'})
    assert changed.status_code == 200


async def test_a_name_that_is_markup_stays_text() -> None:
    (alert, *_) = [alert for alert in READER.stored_alerts if alert.world_id == 10 and alert.end]
    hostile = msgspec.structs.replace(alert, name=HOSTILE)

    class Hostile(MemoryReader):
        async def alerts(self, start: Ms, end: Ms, worlds: Collection[int] | None) -> list[Alert]:
            return [hostile]

    async with client_of(Hostile((), READER.stored_spans)) as client:
        answer = await client.get("/api/v1/chart", params={"world": "10", "from": "-3d"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["view"]["alerts"][0]["name"] == HOSTILE


@pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed")
async def test_the_chart_library_comes_from_here_once(client: httpx.AsyncClient) -> None:
    answer = await client.get("/static/vega.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["content-encoding"] == "gzip"
    assert "vegaEmbed" in answer.text
    assert (await client.get("/static/vega.js")).headers["etag"] == answer.headers["etag"]


@pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed")
async def test_a_warm_chart_library_is_neither_made_nor_compressed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = ChartLibrary()
    await library.warm()
    script = await library.script()
    assert script is not None

    def again(*args: object, **kwargs: object) -> None:
        raise AssertionError("it was made again")

    monkeypatch.setattr("ps2daemon.web.bundle._make", again)
    transport = httpx.ASGITransport(app=page_app(READER, FixedClock(), library))
    async with httpx.AsyncClient(transport=transport, base_url="http://page.test") as client:
        async with client.stream("GET", "/static/vega.js") as small:
            assert small.headers["content-encoding"] == "gzip"
            assert "Accept-Encoding" in small.headers["vary"]
            assert b"".join([part async for part in small.aiter_raw()]) == script.compressed
        plain = await client.get("/static/vega.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == script.plain


@pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed")
async def test_serving_warms_the_chart_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trio.Event()

    async def make() -> None:
        made.set()

    monkeypatch.setattr("ps2daemon.web.bundle._make", make)
    monkeypatch.setattr("ps2daemon.cli.serve.stop_on_signals", lambda stopping: _stop_after(made, stopping))
    store = StoreSettings(
        kind="sqlite", path=tmp_path / "ps2.db", elasticsearch=ElasticsearchSettings(urls=())
    )
    web = WebSettings(host="127.0.0.1", port=0, metrics_port=0, cache_directory=tmp_path / "cache")
    await (await open_store(store)).aclose()
    with trio.fail_after(10):
        await serve_module._serve(_Settings(store, web), "127.0.0.1", 0, ("--host", "--port"))  # type: ignore[arg-type]
    assert made.is_set()


async def _stop_after(made: trio.Event, stopping: trio.Event) -> None:
    await made.wait()
    stopping.set()


class _Settings(NamedTuple):
    store: StoreSettings
    web: WebSettings


async def test_without_the_charts_extra_it_says_how_to_get_it(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ps2daemon.web.bundle.charts_installed", lambda: False)
    answer = await client.get("/static/vega.js")
    assert answer.status_code == 404
    assert "pip install 'ps2daemon[charts]'" in answer.json()["error"]


def test_windows_of_the_page_have_round_steps() -> None:
    from ps2daemon.analysis.asking import good_step

    assert [good_step(days * DAY) // MINUTE for days in (1, 7, 14, 28)] == [2, 15, 30, 60]


async def test_trends_are_those_of_the_command_line(client: httpx.AsyncClient) -> None:
    body = (await client.get("/api/v1/trends", params={"world": "10", "weeks": "2"})).json()
    assert [each["faction_id"] for each in body["trends"]] == [1, 2, 3, 4, None]
    assert {each["verdict"] for each in body["trends"]} == {"too few weeks"}
    assert [week["to"] for week in body["trends"][0]["weeks"]] == [
        "2026-03-08T00:00:00Z",
        "2026-03-15T00:00:00Z",
    ]
    for path, message in (
        ("trends?weeks=105", "weeks can't be '105'; it takes a whole number, 1 to 104"),
        ("trends/charts", "these charts show one world: give world=…"),
        ("trends/charts?world=10&weeks=60", "weeks can't be '60'; it takes a whole number, 1 to 52"),
    ):
        answer = await client.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()) == (400, {"error": message})


@pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed")
async def test_the_charts_of_trends_can_be_drawn(client: httpx.AsyncClient) -> None:
    import vl_convert

    body = (await client.get("/api/v1/trends/charts", params={"world": "10", "weeks": "2"})).json()
    assert body["change"] is None, "nothing was recorded in the two weeks before"
    async with client_of(two_weeks()) as longer:
        body |= (await longer.get("/api/v1/trends/charts", params={"world": "10", "weeks": "1"})).json()
    for name in ("weeks", "calendar", "hours", "change"):
        spec = {**body[name], "width": 400, "autosize": "pad"}
        assert "<svg" in vl_convert.vegalite_to_svg(spec)


@pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed")
@pytest.mark.parametrize(
    ("address", "name", "said"),
    [
        ("chart.svg?world=10&from=-7d", "ps2-people-wainwright-", "Wainwright"),
        (
            "chart.svg?world=10,1&from=-7d&by=day&unit=share",
            "ps2-people-wainwright-osprey-",
            "Osprey: shares",
        ),
        ("effect.svg?world=10&from=-14d", "ps2-effect-wainwright-", "Do people log off"),
        ("alerts.svg?world=10&from=-3d", "ps2-alerts-wainwright-", "the latest 12 of "),
        ("trends.svg?world=10&world=1&weeks=4", "ps2-trends-wainwright-osprey-", "Osprey"),
        ("overview.svg?tz=Europe/Berlin", "ps2-now-osprey-wainwright-", "Who is online"),
        ("coverage.svg?from=-14d", "ps2-coverage-osprey-wainwright-", "What was recorded"),
    ],
)
async def test_a_picture_has_its_own_name_and_title(address: str, name: str, said: str) -> None:
    async with client_of(fortnight(END, days=40, people=8)) as client:
        answer = await client.get(f"/api/v1/{address}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml"), answer.text
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{name}')
    assert said in answer.text


async def test_no_more_pictures_wait_than_are_drawn_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = trio.Event()

    async def waits(*args: object, **kwargs: object) -> None:
        await go_on.wait()
        raise UsageError("nothing is drawn")

    monkeypatch.setattr("ps2daemon.web.pictures.trio.run_process", waits)
    monkeypatch.setattr("ps2daemon.web.pictures.require_charts", lambda: None)
    pictures = Pictures()

    async def refused() -> None:
        with pytest.raises(UsageError):
            await pictures.draw({}, "svg")

    async with trio.open_nursery() as nursery:
        for _ in range(1 + WAITING):
            nursery.start_soon(refused)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(HTTPException, match="ask again later") as found:
            await pictures.draw({}, "svg")
        assert found.value.status_code == 503
        go_on.set()


@pytest.mark.skipif(not charts_installed(), reason="the charts extra is not installed")
async def test_a_picture_that_cant_be_drawn_says_why() -> None:
    with pytest.raises(
        UsageError, match=r"can't be drawn, choose .* says: Vega-Lite to SVG conversion failed: "
    ):
        await Pictures().draw({"mark": 5}, "svg")


@pytest.mark.parametrize(
    ("code", "seconds", "said"),
    [
        ("import sys; sys.exit('it is too large')", 60, "it is too large"),
        ("import os; os.abort()", 60, "ended with -6: choose a shorter window"),
        ("import time; time.sleep(60)", 0.5, "takes longer than 0.5 seconds: choose a shorter window"),
    ],
)
async def test_how_a_drawing_ended_is_said(
    monkeypatch: pytest.MonkeyPatch, code: str, seconds: float, said: str
) -> None:
    monkeypatch.setattr("ps2daemon.web.pictures._DRAW", (sys.executable, "-c", code))
    monkeypatch.setattr("ps2daemon.web.pictures.DRAWING_SECONDS", seconds)
    monkeypatch.setattr("ps2daemon.web.pictures.require_charts", lambda: None)
    with pytest.raises(UsageError, match=said):
        await Pictures().draw({}, "svg")


async def test_what_was_once_the_address_of_history_leads_there() -> None:
    answer = await get(page_app(READER, FixedClock()), "/", b"from=-7d&world=10")
    assert (answer.status, answer.headers[b"location"]) == (307, b"/history?from=-7d&world=10")


@pytest.mark.parametrize("path", ["/", "/history/", "/api/v1/worlds", "/nowhere"])
async def test_a_query_of_bytes_that_no_address_has_is_refused(path: str) -> None:
    answer = await get(page_app(READER, FixedClock()), path, b"from=\xff")
    assert answer.status == 400
    assert b"write them as %XX" in answer.body
