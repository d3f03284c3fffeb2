"""The rules by promtool: they can be loaded, each alert fires when it should and is silent when it should be, and each is explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests.prometheus import FOLDER, RULES, needs_program, promtool, rules

ALERTS: Final = [rule for rule in rules() if rule.alert]
CASES: Final = sorted((FOLDER / "tests").glob("*.yml"))
MANUAL: Final = FOLDER.parent.parent / "docs" / "monitoring.md"


@needs_program("promtool")
def test_prometheus_takes_them() -> None:
    promtool("check", "config", FOLDER / "prometheus.yml")
    for path in RULES:
        promtool("check", "rules", "--lint=all", "--lint-fatal", path)


@needs_program("promtool")
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_each_fires_when_it_should_and_not_otherwise(path: Path) -> None:
    promtool("test", "rules", path)


@needs_program("promtool")
def test_a_case_that_is_wrong_is_found(tmp_path: Path) -> None:
    text = (FOLDER / "tests" / "alerts.yml").read_text()
    only = text[: text.index("  - name:", text.index("  - name:") + 1)]
    wrong = only.replace("../rules", str(FOLDER / "rules")).replace("1x9 0x10", "1x19")
    (tmp_path / "wrong.yml").write_text(wrong)
    with pytest.raises(AssertionError, match="FAILED"):
        promtool("test", "rules", tmp_path / "wrong.yml")


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires: set[str] = set()
    silent: set[str] = set()
    for path in CASES:
        file: Any = msgspec.yaml.decode(path.read_bytes())
        for case in file["tests"]:
            for each in case["promql_expr_test"]:
                (alert,) = re.findall(r'alertname="(\w+)"', each["expr"])
                (fires if each["exp_samples"] else silent).add(alert)
    wanted = {rule.alert for rule in ALERTS}
    assert fires == silent == wanted
    assert len(wanted) == len(ALERTS)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.alert)
def test_each_alert_says_what_to_do(rule: Any) -> None:
    assert rule.labels["severity"] in {"critical", "warning"}
    assert rule.hold
    assert rule.annotations.keys() == {"summary", "description", "runbook"}
    assert rule.annotations["runbook"] == f"docs/monitoring.md#{rule.alert.lower()}"
    assert f"\n### {rule.alert}\n" in MANUAL.read_text()
