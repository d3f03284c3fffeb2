"""What a person writes: the configuration, addresses of the API and the page, and the bytes of whole requests."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import h2.exceptions
import h11
import httpx
import trio

from ps2daemon.census.rest import CensusClient
from ps2daemon.census.websocket import _Address
from ps2daemon.config import load_settings
from ps2daemon.errors import ConfigError
from ps2daemon.model.records import DAY, HOUR
from ps2daemon.secret import Secret
from ps2daemon.store.elasticsearch.server import _client
from ps2daemon.web.app import page_app
from ps2daemon.web.endpoints import DRAWINGS, ENDPOINTS, recording
from ps2daemon.web.server import serve_app
from tests.conftest import ROOT
from tests.fuzz.asgi import get
from tests.fuzz.queued import RECORDS
from tests.fuzz.running import Surface, Take, one_line
from tests.pages import FixedClock
from tests.records import T0
from tests.worker import scene

ANSWER_SECONDS: Final = 0.2
"""After the last byte: some protocols end no connection over a client that says no more."""
OF_HYPERCORN: Final = (trio.BusyResourceError, h11.LocalProtocolError, h2.exceptions.ProtocolError)
"""What its own state machine raises in the app's `send` once a client broke the protocol; it writes that down, and ends the connection."""
BETWEEN: Final = b"\0"
"""Between the file and each variable of the environment, which can hold none."""


@asynccontextmanager
async def _configuration() -> AsyncIterator[Take]:
    """What is not refused must do for whoever is started with it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"

        async def take(data: bytes) -> str:
            text, *variables = data.split(BETWEEN)
            path.write_bytes(text)
            pairs = (each.decode("utf-8", "surrogateescape").partition("=") for each in variables)
            try:
                settings = load_settings(path, {name: value for name, _, value in pairs})
            except ConfigError as error:
                return one_line(error, "refused")
            await _use_census(settings.census.rest_url)
            for stream in settings.streams:
                _Address.of(stream.url).host.encode("idna")
            await _client(settings.store.elasticsearch).close()
            return "accepted"

        yield take


async def _use_census(rest_url: str) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        request.url.host.encode("idna")
        return httpx.Response(200, json={"character_list": []})

    async with CensusClient(
        rest_url=rest_url,
        environment="ps2",
        service_id=Secret("secret"),
        requests_per_minute=100,
        transport=httpx.MockTransport(answer),
    ) as client:
        assert await client.characters(["1"]) == {}


@asynccontextmanager
async def _queries() -> AsyncIterator[Take]:
    """Each input is a path, its query and headers, a line each, as a server hands them on."""
    async with scene() as worker:
        await worker.queue_up(RECORDS)
        worker.clock.set(T0 + DAY)
        await worker.drain()
        app = page_app(worker.store, FixedClock(T0 + 4 * HOUR))

        async def take(data: bytes) -> str:
            target, *lines = data.split(b"\n")
            path, _, query = target.partition(b"?")
            pairs = (line.partition(b":") for line in lines)
            headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
            answer = await get(app, path.decode("latin-1"), query, headers)
            assert answer.status in (200, 304, 307, 400, 404, 406), answer
            assert answer.status != 400 or len(answer.body) < 600, answer
            return str(answer.status)

        yield take


@contextmanager
def _no_defects() -> Iterator[None]:
    """Nothing that the server answers 500 to, or logs as an error."""
    records: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not (record.exc_info and isinstance(record.exc_info[1], OF_HYPERCORN)):
                records.append(self.format(record))

    log, handler = logging.getLogger("ps2daemon.web"), Handler(logging.ERROR)
    propagates = log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagates
    assert not records, records[0]


@asynccontextmanager
async def _requests() -> AsyncIterator[Take]:
    """Each input is all that a client sends on one connection; behind it another one must be answered."""
    async with scene() as worker, trio.open_nursery() as nursery:
        stopping = trio.Event()
        app = page_app(worker.store, FixedClock(T0 + 4 * HOUR))
        port = await nursery.start(partial(serve_app, app, host="127.0.0.1", port=0, stopping=stopping))

        async def take(data: bytes) -> str:
            with _no_defects():
                answer = await _exchange(port, data)
                assert b" 500 " not in answer[:20], answer[:500]
                assert (await _exchange(port, PLAIN, 10)).startswith(b"HTTP/1.1 200 ")
            return (
                answer[9:12].decode("latin-1")
                if answer.startswith(b"HTTP/1.1 ")
                else "other"
                if answer
                else "nothing"
            )

        yield take
        stopping.set()


async def _exchange(port: int, data: bytes, seconds: float = ANSWER_SECONDS) -> bytes:
    """What comes back before the other side waits or closes; only its beginning."""
    answer = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            await stream.send_eof()
            with trio.move_on_after(seconds):
                while chunk := await stream.receive_some():
                    answer = (answer + chunk)[:1_000]
    return answer


def _variables(**values: str) -> bytes:
    return BETWEEN + BETWEEN.join(f"PS2DAEMON_{name}={value}".encode() for name, value in values.items())


PLAIN: Final = b"GET /api/v1/worlds HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
EXAMPLE: Final = (ROOT / "config.example.toml").read_bytes().replace(b"service_id_file", b"#")
CONFIGURATION_SURFACE: Final = Surface(
    "configuration",
    _configuration,
    (
        EXAMPLE,
        b'[census]\nservice_id = "abc"\nrest_url = "http://127.0.0.1:1234/census"\nrequests_per_minute = 7\n',
        b'[[stream]]\nurl = "ws://127.0.0.1:5/streaming"\nenvironment = "ps2ps4us"\nworlds = [1000, 1001]\nverify_seconds = 0.5\n',
        b'[store]\nkind = "elasticsearch"\nurl = ["http://127.0.0.1:9200", "http://[::1]:9201"]\nusername = "a"\npassword = "b"\n',
        b'[store]\nkind = "elasticsearch"\napi_key = "abc="\n[queue]\ndirectory = "~/q"\nmax_bytes = 1_073_741_824\n[web]\nhost = "::1"\n',
        b"[web]\nport = 1\n" + _variables(STREAM_WORLDS="1,10,40", STREAM_VERIFY_SECONDS="0.25", QUEUE_DIRECTORY="~/q"),
        _variables(STORE_KIND="elasticsearch", STORE_URL="http://a:1, http://b:2", CENSUS_SERVICE_ID="s:abc")
        + BETWEEN + b"CREDENTIALS_DIRECTORY=/nowhere",
    ),
)  # fmt: skip
_WINDOW: Final = b"?world=10&from=2026-03-01T08:00Z&to=2026-03-01T16:00Z&tz=Europe/Berlin"
_ADDRESSES: Final = (
    *(b"/api/v1/" + each.name.encode() for each in (*ENDPOINTS, recording(None))),
    *(b"/api/v1/%s.%s" % (each.name.encode(), b"svg") for each in DRAWINGS[:1]),
)
QUERIES_SURFACE: Final = Surface(
    "queries",
    _queries,
    (
        *(address + query for address in _ADDRESSES for query in (b"", b"?world=10&tz=UTC")),
        *(b"/api/v1/%s%s&step=1h&empire=vs,nc" % (name, _WINDOW) for name in (b"population", b"overlay", b"chart")),
        b"/api/v1/overlay" + _WINDOW + b"&by=week&back=2&lines=total&step=auto&unit=share&nso=folded",
        b"/api/v1/alerts" + _WINDOW + b"&people=yes&format=csv",
        b"/api/v1/trends?world=10,1&weeks=2&empire=vs&to=2026-03-02\nAccept: text/csv;q=0.5, application/json;q=0.1",
        b"/api/v1/effect?from=-14d&by=ended\nAccept: text/csv\nAccept-Encoding: gzip\nIf-None-Match: W/\"abc\", *",
        b"/?from=1&window=2\nHost: page.test",
        b"/history?world=10&by=day\nHost: [::1]:80",
        b"/static/page.js\nIf-None-Match: *",
    ),
    virtual=False,
)  # fmt: skip


def _request(target: bytes, *headers: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    return b"\r\n".join((method + b" " + target + b" HTTP/1.1", b"Host: x", *headers, b"", body))


REQUESTS_SURFACE: Final = Surface(
    "HTTP requests",
    _requests,
    (
        PLAIN,
        _request(b"/api/v1/population" + _WINDOW, b"Accept: text/csv", b"Accept-Encoding: gzip"),
        _request(b"/", b"Connection: upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        _request(b"/", b"Connection: upgrade", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
        _request(b"/api/v1/worlds", b"Content-Length: 5", method=b"POST", body=b"hello"),
        _request(b"/", b"Transfer-Encoding: chunked", b"Expect: 100-continue", method=b"POST", body=b"5\r\nhello\r\n0\r\n\r\n"),
        _request(b"*", method=b"OPTIONS"),
        _request(b"/?from=1") + _request(b"/history") + PLAIN,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0b\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x04a.bc\x87",
    ),
    virtual=False,
)  # fmt: skip
