"""What all dashboards have in common: variables, panels with the same manners, the colours of the empires."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import prometheus, table, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DynamicConfigValue,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from ps2daemon.model import tables
from ps2daemon.web.specs import THEMES

PROMETHEUS: Final = DataSourceRef("prometheus", "${datasource}")
ELASTICSEARCH: Final = DataSourceRef("elasticsearch", "${datasource}")
COLORS: Final = {
    faction.faction_id: THEMES["dark"].factions[faction.faction_id]
    for faction in tables.factions().values()
    if faction.faction_id in THEMES["dark"].factions
}
"""Those of the page's dark theme, which is Grafana's default; they are legible on its light one."""
PANEL_HEIGHT: Final = 8
WORLD_NAMES: Final = "* on (world) group_left (name) max by (world, name) (ps2_world_info)"
EMPIRE_TAGS: Final = "* on (faction) group_left (tag) max by (faction, tag) (ps2_faction_info)"
"""Appended to a vector, these put the name of a world, or the tag of an empire, beside its number; each is a multiplication by 1."""


def new(title: str, uid: str, description: str, source: DataSourceRef, start: str) -> Dashboard:
    """An empty dashboard with its data source as a variable, from `start` to now."""
    assert source.type_val is not None
    return (
        Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["ps2daemon"])
        .time(start, "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(DatasourceVariable("datasource").label("Data source").type(source.type_val))
    )


def worlds_by_prometheus() -> QueryVariable:
    """The worlds that were counted within the window, by name, with their numbers as values."""
    return (
        QueryVariable("world")
        .label("World")
        .datasource(PROMETHEUS)
        .query(
            "query_result(max by (world, name) (ps2_world_info) and on (world) max_over_time(world:ps2_online:sum[$__range]))"
        )
        .regex('/name="(?<text>[^"]+)".*world="(?<value>[^"]+)"/')
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def query(expr: str, legend: str, ref: str = "A") -> prometheus.Dataquery:
    """A series over time."""
    return (
        prometheus.Dataquery()
        .datasource(PROMETHEUS)
        .expr(expr)
        .legend_format(legend)
        .ref_id(ref)
        .range()
        .format(PromQueryFormat.TIME_SERIES)
    )


def queries(*pairs: tuple[str, str]) -> list[prometheus.Dataquery]:
    """Several, of (expression, legend)."""
    return [query(expr, legend, chr(ord("A") + number)) for number, (expr, legend) in enumerate(pairs)]


def graph(title: str, description: str, unit: str, *, width: int = 12) -> timeseries.Panel:
    """Lines over time, with gaps where there is nothing."""
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .span(width)
        .height(PANEL_HEIGHT)
        .span_nulls(False)
        .show_points(common.VisibilityMode.AUTO)
        .line_width(2)
        .fill_opacity(0)
    )


def prometheus_graph(
    title: str, description: str, unit: str, *pairs: tuple[str, str], width: int = 12
) -> timeseries.Panel:
    """Lines out of Prometheus, of (expression, legend)."""
    panel = graph(title, description, unit, width=width).datasource(PROMETHEUS)
    for each in queries(*pairs):
        panel.with_target(each)
    return panel


def exact(text: str) -> str:
    """A regular expression of Grafana's that is this text alone."""
    return re.escape(text)


def colored(panel: timeseries.Panel, names: dict[int, str]) -> timeseries.Panel:
    """With each empire's series, whose names match these patterns, in its colour."""
    for faction_id, pattern in names.items():
        color = {"mode": "fixed", "fixedColor": COLORS[faction_id]}
        panel.override_by_regexp(pattern, [DynamicConfigValue("color", color)])
    return panel


def rows(title: str, description: str, hidden: Sequence[str] = (), *, width: int = 12) -> table.Panel:
    """A table of documents; columns of these names are not shown."""
    panel = table.Panel().title(title).description(description).span(width).height(PANEL_HEIGHT)
    for name in hidden:
        panel.override_by_name(name, [DynamicConfigValue("custom.hidden", True)])
    return panel
