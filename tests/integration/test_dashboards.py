"""The dashboards: the committed files are what their module makes, and every query of theirs and of the rules has an answer.

Prometheus is a real one, with the committed rules, that scrapes a daemon which records from the simulator; what the past days would have
left is put into its database beforehand. Elasticsearch is real too, of both majors.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trio

from bench.programs import free_port
from bench.year import Year, fill
from monitoring.dashboards import FOLDER, dashboards, encoded
from ps2daemon import daemon
from ps2daemon.clock import SystemClock
from ps2daemon.model.records import DAY
from ps2daemon.simulator.protocol import HEARTBEAT_SECONDS
from ps2daemon.simulator.server import Simulator
from ps2daemon.simulator.sources import BusySource
from ps2daemon.store.elasticsearch import ElasticsearchStore
from ps2daemon.telemetry import Telemetry
from tests.elasticsearch import EACH_MAJOR, Indices, address, indices
from tests.integration.test_daemon import WORLDS, Scene, scene
from tests.prometheus import RULES, needs_program, promtool, rules

PATIENCE: Final = HEARTBEAT_SECONDS + 20.0
"""Seconds until every query has an answer: by how much the clock is off is told by the first heartbeat, and the others take 10."""
VARIABLES: Final = {"$__rate_interval": "10s", "$__range": "1h", "$world": ".*", "$faction": ".*"}
COMPARISON: Final = re.compile(r" (?:==|>=|<=|<|>) [0-9.]+")


def panels(name: str) -> list[dict[str, Any]]:
    """Those of a committed dashboard."""
    found: list[dict[str, Any]] = json.loads((FOLDER / name).read_text())["panels"]
    return found


def targets(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Title of the panel and target."""
    for panel in panels(name):
        for target in panel["targets"]:
            yield panel["title"], target


def test_the_files_are_what_is_made() -> None:
    made = {name: encoded(dashboard) for name, dashboard in dashboards().items()}
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == made, "run `make dashboards`"


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_each_panel_explains_itself_and_connects_no_gap(name: str) -> None:
    for panel in panels(name):
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
        if panel["type"] == "timeseries":
            defaults = panel["fieldConfig"]["defaults"]
            assert defaults["unit"]
            assert defaults["custom"]["spanNulls"] is False


def _past(now: int) -> str:
    """What the rules would have recorded in the past day, and at this time a week ago: a value a minute.

    Up to six minutes ago: an instant query looks five minutes back, and what is of today has to come from the daemon.
    """
    lines = []
    spans = [(now - 7 * 86_400 - 3600, now - 7 * 86_400 + 3600), (now - 26 * 3600, now - 360)]
    series = [("world:ps2_events:rate1h", f'world="{world}"', 0.1) for world in WORLDS]
    series += [("world:ps2_online:sum", f'world="{world}"', 40.0) for world in WORLDS]
    series += [
        ("world_faction:ps2_online:sum", f'world="{world}",faction="{faction}"', 10.0)
        for world in WORLDS
        for faction in range(1, 5)
    ]
    for name in dict.fromkeys(name for name, _, _ in series):
        lines.append(f"# TYPE {name} gauge")
        for labels, level in [(labels, level) for of, labels, level in series if of == name]:
            lines += [
                f"{name}{{{labels}}} {level} {at}" for start, end in spans for at in range(start, end, 60)
            ]
    return "\n".join([*lines, "# EOF\n"])


@asynccontextmanager
async def prometheus(folder: Path, target: int) -> AsyncIterator[httpx.AsyncClient]:
    """One that scrapes that port each second, with the committed rules evaluated as often."""
    (folder / "past.txt").write_text(_past(int(time.time())))
    promtool("tsdb", "create-blocks-from", "openmetrics", folder / "past.txt", folder / "data")
    for path in RULES:
        (folder / path.name).write_text(path.read_text().replace("interval: 1m", "interval: 1s"))
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{', '.join(path.name for path in RULES)}]\n"
        f'scrape_configs: [{{job_name: ps2daemon, static_configs: [{{targets: ["127.0.0.1:{target}"]}}]}}]\n'
    )
    port = free_port(1)
    process = await trio.lowlevel.open_process(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()


def _values(result: list[dict[str, Any]]) -> list[str]:
    return [value for series in result for _, value in series.get("values", [series.get("value")])]


async def _unanswered(client: httpx.AsyncClient, wanted: dict[str, str]) -> dict[str, str]:
    """Those of the expressions that have no answer, or no number in it."""
    left = {}
    now = time.time()
    for title, expr in wanted.items():
        window = {"query": expr, "start": str(now - 5), "end": str(now), "step": "1"}
        answer = await client.get("/api/v1/query_range", params=window)
        body = answer.json()
        assert body["status"] == "success", f"{title}: {expr}: {body}"
        if all(value == "NaN" for value in _values(body["data"]["result"])):
            left[title] = expr
    return left


def wanted() -> dict[str, str]:
    """Every expression of dashboards, variables and rules, with the variables filled in.

    An alert has no answer in health: its comparisons are left out, so that what is compared has to be there. Those behind `unless` stay, since
    without it the whole would be empty.
    """
    found = {}
    for name in ("operations.json", "population.json"):
        for title, target in targets(name):
            found[f"{name}: {title} {target['refId']}"] = target["expr"]
        for variable in json.loads((FOLDER / name).read_text())["templating"]["list"]:
            if variable["type"] == "query":
                found[f"{name}: ${variable['name']}"] = variable["query"].removeprefix("query_result")
    for rule in rules():
        lines = rule.expr.splitlines()
        bare = [line if "unless" in line else COMPARISON.sub("", line) for line in lines]
        found[rule.alert or rule.record] = rule.expr if rule.record else "\n".join(bare)
    for title, expr in found.items():
        for variable, value in VARIABLES.items():
            expr = expr.replace(variable, value)
        assert not re.search(r"\$[a-z_]", expr), f"{title}: {expr}"
        found[title] = expr
    return found


async def _daemon(census: Scene, stop: trio.Event) -> None:
    await daemon.run(census.settings, None, telemetry=Telemetry(), clock=SystemClock(), stop=stop)


@needs_program("prometheus")
@needs_program("promtool")
async def test_every_query_of_prometheus_has_an_answer(tmp_path: Path) -> None:
    simulator = Simulator(BusySource(rate=100, worlds=WORLDS, seed=3), worlds=WORLDS)
    queries = wanted()
    assert len(queries) > 50
    async with scene(tmp_path, simulator) as census, trio.open_nursery() as nursery:
        stop = trio.Event()
        nursery.start_soon(_daemon, census, stop)
        await census.ready(census.port)
        async with prometheus(tmp_path, census.port) as client:
            left = queries
            with trio.move_on_after(PATIENCE):
                while left:
                    await trio.sleep(1)
                    try:
                        left = await _unanswered(client, left)
                    except httpx.TransportError:
                        continue
            assert left == {}
            assert await _unanswered(client, {"no such": "ps2_no_such"}), "an empty answer is told from one"
            firing = await client.get("/api/v1/query", params={"query": 'ALERTS{alertstate="firing"}'})
            assert firing.json()["data"]["result"] == []
            assert await _evaluated(client) == {rule.alert or rule.record: "ok" for rule in rules()}
        stop.set()


async def _evaluated(client: httpx.AsyncClient) -> dict[str, str]:
    """How each rule was evaluated as it is committed, by its name: `ok`, or the error."""
    groups = (await client.get("/api/v1/rules")).json()["data"]["groups"]
    return {
        rule["name"]: rule.get("lastError") or rule["health"] for group in groups for rule in group["rules"]
    }


def search(target: dict[str, Any], start: int, end: int, world: str = "*") -> dict[str, Any]:
    """The body of the `_search` that Grafana's Elasticsearch data source sends for a target, for a window in milliseconds.

    Args:
        world: what the variable is filled in with.
    """
    field = target["timeField"]
    window = {"range": {field: {"gte": start, "lte": end, "format": "epoch_millis"}}}
    query = target["query"].replace("$world", world)
    body: dict[str, Any] = {
        "query": {"bool": {"filter": [window, {"query_string": {"analyze_wildcard": True, "query": query}}]}},
        "size": 0,
    }
    (metric,) = target["metrics"]
    if metric["type"] == "raw_data":
        return body | {
            "size": int(metric["settings"]["size"]),
            "sort": [{field: {"order": "desc", "unmapped_type": "boolean"}}, {"_doc": {"order": "desc"}}],
        }
    assert metric["type"] == "count"
    inner: dict[str, Any] = {}
    for each in reversed(target["bucketAggs"]):
        settings = each["settings"]
        if each["type"] == "terms":
            aggregation: dict[str, Any] = {
                "terms": {
                    "field": each["field"],
                    "size": int(settings["size"]),
                    "order": {settings["orderBy"]: settings["order"]},
                    "min_doc_count": int(settings["min_doc_count"]),
                }
            }
        else:
            assert (each["type"], settings["interval"]) == ("date_histogram", "auto")
            aggregation = {
                "date_histogram": {
                    "field": each["field"],
                    "fixed_interval": "1h",
                    "min_doc_count": int(settings["min_doc_count"]),
                    "extended_bounds": {"min": start, "max": end},
                    "format": "epoch_millis",
                }
            }
        inner = {each["id"]: aggregation | ({"aggs": inner} if inner else {})}
    return body | {"aggs": inner}


def _quoted(value: str) -> str:
    """As Grafana fills in what was chosen; of several, with `OR` and in brackets."""
    return f'"{value}"'


def _found(answer: dict[str, Any]) -> int:
    """How many documents it shows."""
    if "aggregations" not in answer:
        return len(answer["hits"]["hits"])
    return sum(bucket["doc_count"] for bucket in answer["aggregations"]["2"]["buckets"])


def choices(variable: dict[str, Any]) -> dict[str, Any]:
    """The body of the `_msearch` for what a variable may be: see `getTerms` of Grafana's Elasticsearch data source."""
    asked = json.loads(variable["query"])
    assert asked.pop("find") == "terms"
    return {
        "size": 0,
        "query": {"bool": {"filter": [{"query_string": {"analyze_wildcard": True, "query": "*"}}]}},
        "aggs": {"1": {"terms": asked | {"order": {"_key": "asc"}}}},
    }


async def _choices(server: Indices) -> list[str]:
    """What the page offers as worlds."""
    (variable,) = (
        variable
        for variable in json.loads((FOLDER / "elasticsearch.json").read_text())["templating"]["list"]
        if variable["type"] == "query"
    )
    assert variable["name"] == "world"
    answer = await server.ask("POST", f"/{server.prefix}-*/_search", choices(variable))
    return [str(bucket["key"]) for bucket in answer["aggregations"]["1"]["buckets"]]


@EACH_MAJOR
async def test_every_query_of_elasticsearch_has_an_answer(major: int) -> None:
    now = SystemClock().now()
    start = now - 7 * DAY
    async with indices(address(major)) as server:
        store = await ElasticsearchStore.open(server.settings())
        try:
            assert await _choices(server) == []
            await fill(store, Year(now, scale=0.1, days=7, worlds=(10, 40)))
        finally:
            await store.aclose()
        worlds = await _choices(server)
        assert worlds == ["10", "40"]
        asked = 0
        for title, target in targets("elasticsearch.json"):
            answer = await server.ask("POST", f"/{server.prefix}-*/_search", search(target, start, now))
            assert _found(answer) > 0, f"{title} {target['refId']}"
            empty = await server.ask(
                "POST", f"/{server.prefix}-*/_search", search(target, start - 9 * DAY, start - 8 * DAY)
            )
            assert _found(empty) == 0, f"{title} is of the window"
            every, *each = [
                _found(
                    await server.ask(
                        "POST", f"/{server.prefix}-*/_search", search(target, start, now, chosen)
                    )
                )
                for chosen in (f"({' OR '.join(map(_quoted, worlds))})", *map(_quoted, worlds))
            ]
            assert every == sum(each) == _found(answer)
            assert min(each) > 0, f"{title} is of the worlds that are chosen"
            asked += 1
        assert asked == 14
