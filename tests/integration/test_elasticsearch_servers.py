"""What the tests of Elasticsearch stand on: addresses, or a reason to skip, and prefixes that are cleaned up."""

from __future__ import annotations

import pytest

from ps2daemon.config import load_settings
from tests.elasticsearch import EACH_MAJOR, MAJORS, TOOL, address, indices, needs, variable


def test_the_variables_of_tests_are_no_settings() -> None:
    environ = dict.fromkeys((TOOL, *map(variable, MAJORS)), "x")
    assert load_settings(None, environ) == load_settings(None, {})


def test_whoever_needs_a_server_where_there_is_none_skips_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(variable(8), raising=False)
    monkeypatch.setenv(variable(9), "http://127.0.0.1:1")
    assert address(9) == "http://127.0.0.1:1"
    assert needs(variable(9)).mark.args == (False,)
    missing = needs(variable(8), variable(9)).mark
    assert missing.args == (True,)
    assert missing.kwargs["reason"].startswith(f"needs an Elasticsearch: {variable(8)} not set")


@EACH_MAJOR
async def test_a_prefix_is_emptied_and_deleted_with_its_templates(major: int) -> None:
    url = address(major)
    async with indices(url) as ours, indices(url) as others:
        assert (await ours.ask("GET", "/"))["version"]["number"].startswith(f"{major}.")
        for each in (ours, others):
            template = {"index_patterns": [f"{each.prefix}-*"], "priority": 7}
            await each.ask("PUT", f"/_index_template/{each.prefix}-t", template)
            await each.ask("PUT", f"/{each.prefix}-a/_doc/1", {"n": 1})
        await ours.empty()
        counted = [(await ours.ask("GET", f"/{each.prefix}-*/_count"))["count"] for each in (ours, others)]
        assert counted == [0, 0]
        await others.ask("POST", f"/{others.prefix}-*/_refresh")
        assert (await others.ask("GET", f"/{others.prefix}-*/_count"))["count"] == 1
        await ours.delete()
        assert await ours.names() == []
        assert await others.names() == [f"{others.prefix}-a"]
        templates = (await ours.ask("GET", "/_index_template"))["index_templates"]
        names = {template["name"] for template in templates}
        assert f"{others.prefix}-t" in names
        assert f"{ours.prefix}-t" not in names
