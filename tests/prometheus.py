"""The rules and their programs, for tests: what is committed under `monitoring/prometheus`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import msgspec
import pytest

FOLDER: Final = Path(__file__).resolve().parent.parent / "monitoring" / "prometheus"
RULES: Final = (FOLDER / "rules" / "recording.yml", FOLDER / "rules" / "alerts.yml")
PROMTOOL_SECONDS: Final = 120.0


class Rule(msgspec.Struct):
    """A recording rule or an alert, as in the file."""

    expr: str
    record: str = ""
    alert: str = ""
    hold: str = msgspec.field(name="for", default="")
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Group(msgspec.Struct):
    name: str
    rules: list[Rule]


class _File(msgspec.Struct):
    groups: list[_Group]


def rules() -> list[Rule]:
    """All of them, in order."""
    files = [msgspec.yaml.decode(path.read_bytes(), type=_File) for path in RULES]
    return [rule for file in files for group in file.groups for rule in group.rules]


def needs_program(name: str) -> pytest.MarkDecorator:
    """Skips a test where `prometheus` or `promtool` is not installed."""
    return pytest.mark.skipif(
        shutil.which(name) is None, reason=f"needs {name}; on Debian and Ubuntu: apt-get install prometheus"
    )


def promtool(*arguments: str | Path) -> str:
    """What it says; a failure is one of the test."""
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=PROMTOOL_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
