"""What answers is no Elasticsearch that this program knows, or does not let it in: refused when the store is opened, in one line that says what to do."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from ps2daemon.config import ElasticsearchSettings
from ps2daemon.errors import StoreMismatch, StoreUnavailable
from ps2daemon.secret import Secret
from ps2daemon.store.elasticsearch import ElasticsearchStore
from ps2daemon.store.elasticsearch.server import Server
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


@asynccontextmanager
async def tls(authority: trustme.CA | None) -> AsyncIterator[str]:
    """The URL of an Elasticsearch 7 with a certificate by `authority`, or of what speaks no TLS there."""
    body = SEVEN.body
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {SEVEN.content_type}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"

    async def talk(stream: trio.abc.Stream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.receive_some()
            await stream.send_all(head.encode() + body)
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        found: trio.abc.Listener[trio.abc.Stream] = listener
        if authority is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            found = trio.SSLListener(listener, context)
        nursery.start_soon(partial(trio.serve_listeners, talk, [found]))
        yield f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def version(url: str, ca_file: Path | None = None) -> str:
    """What the store says to a server before anything else."""
    server = Server(ElasticsearchSettings(urls=(url,), ca_file=ca_file))
    try:
        return await server.version()
    finally:
        await server.aclose()


async def test_a_certificate_that_nobody_knows_is_told_as_such(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    async with tls(authority) as url:
        with pytest.raises(StoreUnavailable) as caught:
            await version(url)
        assert str(caught.value) == (
            f"Elasticsearch at {url} has a certificate that is not trusted (unable to get local issuer certificate): "
            "set store.ca_file to the certificates of who signed it"
        )
        with pytest.raises(StoreMismatch, match=r"elasticsearch 7\.17\.28"):
            await version(url, tmp_path / "ca.crt")


async def test_what_speaks_no_tls_is_told_as_such() -> None:
    async with tls(None) as url:
        with pytest.raises(StoreUnavailable) as caught:
            await version(url)
        assert str(caught.value).startswith(f"what is at {url} does not speak TLS as it should (")
        assert str(caught.value).endswith("): check store.url")
