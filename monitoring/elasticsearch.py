"""What is in the store: sessions, alerts, locks and coverage, out of Elasticsearch."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import elasticsearch as es
from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import VariableRefresh
from grafana_foundation_sdk.models.elasticsearch import TermsOrder

from monitoring.panels import ELASTICSEARCH, colored, exact, graph, new, rows
from ps2daemon.model import tables

_WORLD: Final = "world_id:$world"
_LIMIT: Final = "500"
_EMPIRES: Final = (tables.VS, tables.NC, tables.TR, tables.NSO, tables.UNKNOWN_FACTION)


def _counted(time_field: str, term: str, query: str, ref: str, alias: str) -> es.Dataquery:
    """How many documents an interval, by the values of `term`."""
    terms = (
        es.ElasticsearchTermsSettings()
        .size("20")
        .order(TermsOrder.DESC)
        .order_by("_count")
        .min_doc_count("1")
    )
    # Zero where nothing is: whether that was recorded is for the coverage panel to say.
    times = es.ElasticsearchDateHistogramSettings().interval("auto").min_doc_count("0").trim_edges("0")
    return (
        es.Dataquery()
        .datasource(ELASTICSEARCH)
        .ref_id(ref)
        .query(query)
        .alias(alias)
        .time_field(time_field)
        .metrics([es.Count().id("1")])
        .bucket_aggs(
            [
                es.Terms().id("2").field(term).settings(terms),
                es.DateHistogram().id("3").field(time_field).settings(times),
            ]
        )
    )


def _documents(time_field: str, query: str) -> es.Dataquery:
    """The latest documents of the window."""
    settings = es.ElasticsearchRawDataSettings().size(_LIMIT)
    return (
        es.Dataquery()
        .datasource(ELASTICSEARCH)
        .ref_id("A")
        .query(query)
        .time_field(time_field)
        .metrics([es.RawData().id("1").settings(settings)])
        .bucket_aggs([])
    )


def dashboard() -> Dashboard:
    """The dashboard."""
    board = new(
        "ps2daemon: sessions and alerts",
        "ps2daemon-elasticsearch",
        "What is stored. Needs a data source of Elasticsearch whose index is ps2-* (docs/monitoring.md).",
        ELASTICSEARCH,
        "now-7d",
    ).with_variable(
        QueryVariable("world")
        .label("World")
        .datasource(ELASTICSEARCH)
        .query('{"find": "terms", "field": "world_id", "size": 100}')
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        .multi(True)
        .include_all(True)
        .all_value("*")
    )
    for name, field, why in (
        ("Logins", "login_ts", "Sessions that began with a login"),
        ("Logouts", "logout_ts", "Sessions that ended, estimated ends included,"),
    ):
        panel = graph(
            f"{name} by empire",
            f"{why} within each interval. Zero may mean that nothing was recorded: see the coverage.",
            "short",
        )
        panel.datasource(ELASTICSEARCH).draw_style(common.GraphDrawStyle.BARS)
        for number, faction_id in enumerate(_EMPIRES):
            tag = tables.factions()[faction_id].tag
            panel.with_target(
                _counted(
                    field, "faction_id", f"{_WORLD} AND faction_id:{faction_id}", chr(ord("A") + number), tag
                )
            )
        tags = {faction_id: f"/^{exact(tables.factions()[faction_id].tag)}$/" for faction_id in _EMPIRES}
        board.with_panel(colored(panel, tags))
    ends = graph(
        "Sessions by how they ended",
        "`logout` is what the stream told; `open` has not ended; all others are estimates (docs/numbers.md).",
        "short",
        width=24,
    ).datasource(ELASTICSEARCH)
    ends.draw_style(common.GraphDrawStyle.BARS)
    board.with_panel(ends.with_target(_counted("first_ts", "ended_by", _WORLD, "A", "{{term ended_by}}")))
    for title, text, field, query in (
        (
            "Alerts",
            "Alerts that started within the window, with what ended them and who won.",
            "start",
            f"{_WORLD} AND _exists_:alert_id AND _exists_:metagame_event_id",
        ),
        ("Locks", "Continents that were locked within the window.", "at", f"{_WORLD} AND _exists_:lock_id"),
        (
            "Coverage",
            "Spans that are vouched for and end within the window (the present one ends now), and why there was none before each. What lies between two was not recorded.",
            "to",
            f"{_WORLD} AND _exists_:from",
        ),
    ):
        table = rows(
            title, text, ("_id", "_index", "_type", "sort", "highlight"), width=24 if field == "to" else 12
        )
        board.with_panel(table.datasource(ELASTICSEARCH).with_target(_documents(field, query)))
    return board
