"""What answers is no Elasticsearch that this program knows, or does not let it in: refused when the store is opened, in one line that says what to do."""

from __future__ import annotations

from base64 import b64encode

import pytest

from ps2daemon.config import ElasticsearchSettings
from ps2daemon.errors import StoreMismatch
from ps2daemon.secret import Secret
from ps2daemon.store.elasticsearch import ElasticsearchStore
from tests.front import (
    LOGIN_PAGE,
    OPENSEARCH,
    SEVEN,
    TEN,
    UNAUTHORIZED,
    Answer,
    answering,
    front,
)

USER = "Zoë"
PASSWORD = "pässwörd ☂:x"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        pytest.param(LOGIN_PAGE, "", id="a login page"),
        pytest.param(OPENSEARCH, "", id="OpenSearch"),
        pytest.param(SEVEN, "(elasticsearch 7.17.28)", id="7"),
        pytest.param(TEN, "(elasticsearch 10.0.0)", id="10"),
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
async def test_what_is_no_elasticsearch_is_refused(answer: Answer, found: str, read_only: bool) -> None:
    async with front() as server:
        server.rule = answering(answer, lambda asked: True)
        with pytest.raises(StoreMismatch) as caught:
            await ElasticsearchStore.open(ElasticsearchSettings(urls=(server.url,)), read_only=read_only)
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"what answers at {server.url} is no Elasticsearch 8 or 9 (")
        assert found in line
        assert line.endswith("set store.url to a server of one of these versions")
        assert [each.method for each in server.asked] == ["GET"]  # nothing was written


async def test_wrong_credentials_are_refused() -> None:
    async with front() as server:
        server.rule = answering(UNAUTHORIZED, lambda asked: True)
        settings = ElasticsearchSettings(urls=(server.url,), username="ps2", password=Secret("hunter2"))
        with pytest.raises(StoreMismatch) as caught:
            await ElasticsearchStore.open(settings)
        (line,) = str(caught.value).splitlines()
        assert "does not let this user do that (401" in line
        assert "check store.username and store.password_file" in line
        assert "hunter2" not in line


async def test_a_name_and_a_password_in_any_script_arrive_as_utf_8() -> None:
    async with front() as server:
        server.rule = answering(SEVEN, lambda asked: True)
        settings = ElasticsearchSettings(urls=(server.url,), username=USER, password=Secret(PASSWORD))
        with pytest.raises(StoreMismatch):
            await ElasticsearchStore.open(settings)
        wanted = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        assert [each.authorization for each in server.asked] == [f"Basic {wanted}"]


async def test_an_api_key_arrives() -> None:
    async with front() as server:
        server.rule = answering(SEVEN, lambda asked: True)
        settings = ElasticsearchSettings(urls=(server.url,), api_key=Secret("a2V5OnNlY3JldA=="))
        with pytest.raises(StoreMismatch):
            await ElasticsearchStore.open(settings)
        assert [each.authorization for each in server.asked] == ["ApiKey a2V5OnNlY3JldA=="]
