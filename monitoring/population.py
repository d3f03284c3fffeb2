"""How many people of each empire are on each world, over yesterday and last week."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable
from grafana_foundation_sdk.models.dashboard import VariableRefresh

from monitoring.panels import (
    EMPIRE_TAGS,
    PROMETHEUS,
    WORLD_NAMES,
    colored,
    exact,
    new,
    prometheus_graph,
    worlds_by_prometheus,
)
from ps2daemon.model import tables

_EMPIRES: Final = {
    faction.faction_id: f"/ {exact(faction.tag)}$/"
    for faction in tables.factions().values()
    if faction.faction_id in (tables.VS, tables.NC, tables.TR, tables.NSO, tables.UNKNOWN_FACTION)
}
_WORLD: Final = 'world=~"$world"'
_OF_EMPIRES: Final = f'{_WORLD}, faction=~"$faction"'


def _named(vector: str) -> str:
    """With the name of the world and the tag of the empire."""
    return f"{vector} {WORLD_NAMES} {EMPIRE_TAGS}"


def dashboard() -> Dashboard:
    """The dashboard."""
    board = (
        new(
            "ps2daemon: population",
            "ps2daemon-population",
            "People online. Where nothing was recorded there is a gap; an earlier time is shown where that was recorded.",
            PROMETHEUS,
            "now-24h",
        )
        .refresh("1m")
        .with_variable(worlds_by_prometheus())
        .with_variable(
            QueryVariable("faction")
            .label("Empire")
            .datasource(PROMETHEUS)
            .query("query_result(ps2_faction_info)")
            .regex('/faction="(?<value>[^"]+)".*tag="(?<text>[^"]+)"/')
            .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    )
    now = f"world:ps2_online:sum{{{_WORLD}}}"
    board.with_panel(
        prometheus_graph(
            "People online, over yesterday and last week",
            "All empires together: now, the same time a day before, and a week before.",
            "short",
            (f"{now} {WORLD_NAMES}", "{{name}}"),
            (f"{now} offset 1d {WORLD_NAMES}", "{{name}}, yesterday"),
            (f"{now} offset 7d {WORLD_NAMES}", "{{name}}, last week"),
            width=24,
        ).min(0)
    )
    by_empire = (_named(f"world_faction:ps2_online:sum{{{_OF_EMPIRES}}}"), "{{name}} {{tag}}")
    board.with_panel(
        colored(
            prometheus_graph(
                "By empire",
                "People of each empire; `?` are those whom Census has not named yet.",
                "short",
                by_empire,
            ).min(0),
            _EMPIRES,
        )
    )
    share = (
        f"world_faction:ps2_online:sum{{{_OF_EMPIRES}}} / on (world) group_left () (world:ps2_online:sum > 0)"
    )
    board.with_panel(
        colored(
            prometheus_graph(
                "Share of each empire",
                "Of all people on the world; none where nobody is there.",
                "percentunit",
                (_named(f"({share})"), "{{name}} {{tag}}"),
            )
            .min(0)
            .max(1),
            _EMPIRES,
        )
    )
    for back, days in (("yesterday", "1d"), ("last week", "7d")):
        board.with_panel(
            colored(
                prometheus_graph(
                    f"Against {back}",
                    f"People more or less than at the same time {back}, by empire, only where both were recorded.",
                    "short",
                    (_named(f"world_faction:ps2_online:diff{days}{{{_OF_EMPIRES}}}"), "{{name}} {{tag}}"),
                ),
                _EMPIRES,
            )
        )
    board.with_panel(
        prometheus_graph(
            "Mean of the hour and of the day before",
            "Where three quarters of the time were recorded.",
            "short",
            (f"world:ps2_online:avg1h{{{_WORLD}}} {WORLD_NAMES}", "{{name}}, hour"),
            (f"world:ps2_online:avg1d{{{_WORLD}}} {WORLD_NAMES}", "{{name}}, day"),
            width=24,
        )
    )
    return board
