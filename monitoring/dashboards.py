"""Makes the dashboards: `python -m monitoring.dashboards` (or `make dashboards`) writes them to `monitoring/grafana/`.

They import into Grafana 11 and 12 as they are: the data source is a variable, and nothing else refers to an installation. Empires have the
colours of the page, gaps are not connected, and each panel says what it shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring import elasticsearch, operations, population

FOLDER: Final = Path(__file__).parent / "grafana"


def dashboards() -> dict[str, Dashboard]:
    """By the names of their files."""
    return {
        "operations.json": operations.dashboard(),
        "population.json": population.dashboard(),
        "elasticsearch.json": elasticsearch.dashboard(),
    }


def encoded(dashboard: Dashboard) -> str:
    """The file's text."""
    return JSONEncoder(sort_keys=True, indent=2).encode(dashboard.build()) + "\n"


def main() -> None:
    """Writes them."""
    FOLDER.mkdir(exist_ok=True)
    for name, dashboard in dashboards().items():
        (FOLDER / name).write_text(encoded(dashboard))


if __name__ == "__main__":
    main()
