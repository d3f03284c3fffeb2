from __future__ import annotations

import gzip
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from ps2daemon.census.rest import (
    BATCH,
    IN_FLIGHT,
    MAX_BODY_BYTES,
    REQUEST_SECONDS,
    RESULTS,
    CensusClient,
    CensusObserver,
    Identity,
    IdRefused,
)
from ps2daemon.errors import CensusError, CensusRefused, CensusUnavailable
from ps2daemon.secret import Secret

DATA = Path(__file__).parent.parent / "data" / "census"
SERVICE_ID = "Zq9hidden"
Handler = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


class Observer(CensusObserver):
    def __init__(self) -> None:
        self.results: list[str] = []
        self.seconds: list[float] = []
        self.left: list[float] = []

    def requested(self, result: str, seconds: float) -> None:
        assert result in RESULTS
        self.results.append(result)
        self.seconds.append(round(seconds, 3))

    def tokens(self, left: float) -> None:
        self.left.append(left)


def client(handler: Handler, observer: CensusObserver | None = None, **changes: Any) -> CensusClient:
    values: dict[str, Any] = {
        "rest_url": "https://census.example",
        "environment": "ps2",
        "service_id": Secret(SERVICE_ID),
        "requests_per_minute": 100,
        "observer": observer,
        "transport": httpx.MockTransport(handler),
    }
    return CensusClient(**(values | changes))


def answering(content: bytes | str | dict[str, Any], status: int = 200, **headers: str) -> Handler:
    """A Census with one answer."""

    async def handler(request: httpx.Request) -> httpx.Response:
        body = json.dumps(content).encode() if isinstance(content, dict) else content
        return httpx.Response(
            status, content=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return handler


async def compressed(request: httpx.Request) -> httpx.Response:
    """A Census that compresses its answer unasked."""

    async def body() -> AsyncIterator[bytes]:
        yield gzip.compress(b'{"character_list":[]}')

    return httpx.Response(200, content=body(), headers={"Content-Encoding": "gzip"})


async def ask(handler: Handler, *ids: str) -> tuple[dict[str, Identity] | CensusError, str]:
    """What comes of one request, and its result as observed."""
    observer = Observer()
    async with client(handler, observer) as census:
        try:
            found: dict[str, Identity] | CensusError = await census.characters(ids or ("1", "2"))
        except CensusError as error:
            found = error
    [result] = observer.results
    return found, result


def row(
    character_id: object = "1", name: object = "Ann", faction: object = "2", **more: object
) -> dict[str, object]:
    return {"character_id": character_id, "name": {"first": name}, "faction_id": faction, **more}


def rows(*given_rows: object) -> dict[str, Any]:
    return {"character_list": list(given_rows), "returned": len(given_rows)}


# the request


async def test_one_request_asks_about_all_of_them_by_the_documented_query() -> None:
    requests: list[httpx.Request] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=rows(row("2"), row("1")))

    async with client(handler, service_id=Secret("s:a b"), rest_url="https://census.example/") as census:
        found = await census.characters(["1", "2", "1"])
    assert found == {"1": Identity("1", "Ann", 2), "2": Identity("2", "Ann", 2)}
    [request] = requests
    assert request.method == "GET"
    assert str(request.url) == (
        "https://census.example/s:a%20b/get/ps2:v2/character"
        "?character_id=1,2&c:limit=2&c:show=character_id,name.first,faction_id"
    )
    assert request.headers["user-agent"].startswith("ps2daemon/")
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("environment", ["ps2", "ps2ps4us", "ps2ps4eu"])
async def test_the_namespace_follows_the_environment(environment: str) -> None:
    async def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path.split("/")[3] == f"{environment}:v2"
        return httpx.Response(200, json=rows())

    async with client(handler, environment=environment) as census:
        assert await census.characters(["1"]) == {}


async def test_an_unknown_environment_is_refused() -> None:
    with pytest.raises(ValueError, match="ps2ps4us"):
        client(answering(b""), environment="all")


async def test_nothing_is_asked_about_nobody() -> None:
    async def handler(request: httpx.Request) -> httpx.Response:
        raise AssertionError

    async with client(handler) as census:
        assert await census.characters([]) == {}


async def test_who_is_online_is_asked_of_a_collection_of_its_own(autojump_clock: MockClock) -> None:
    requests: list[str] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        requests.append(str(request.url))
        await trio.sleep(7)
        told = {
            "2": "10",
            "1": "0",
            "3": "",
            "4": "NULL",
            "5": "-1",
            "6": None,
            "7": 40,
            "8": True,
            "99": "0",
        }
        found: list[object] = [{"character_id": key, "online_status": status} for key, status in told.items()]
        found += [{"character_id": "9"}, "10", {"online_status": "0"}]
        return httpx.Response(200, json={"characters_online_status_list": found, "returned": len(found)})

    asked = trio.current_time()
    async with client(handler) as census:
        found = await census.online([str(number) for number in range(1, 12)])
    assert {key: each.online for key, each in found.items()} == {"1": False, "2": True, "7": True}
    assert {each.asked for each in found.values()} == {asked}, "not when it was answered"
    assert requests == [
        f"https://census.example/s:{SERVICE_ID}/get/ps2:v2/characters_online_status"
        "?character_id=1,2,3,4,5,6,7,8,9,10,11&c:limit=11"
    ]


@pytest.mark.parametrize(
    "handler", [answering(rows(row())), answering({"error": "service_unavailable"}), answering("<html>")]
)
async def test_nobody_is_offline_by_an_answer_that_does_not_say_so(handler: Handler) -> None:
    async with client(handler) as census:
        with pytest.raises(CensusUnavailable):
            await census.online(["1"])


@pytest.mark.parametrize("ids", [[str(n) for n in range(BATCH + 1)], ["1&c:limit=9"], [""], ["٣"], ["-1"]])
async def test_ids_that_are_no_batch_of_numbers_are_a_defect(ids: list[str]) -> None:
    async with client(answering(b"")) as census:
        with pytest.raises(ValueError, match="decimal"):
            await census.characters(ids)


async def test_a_real_answer() -> None:
    body = (DATA / "auraxium_rest" / "character.json").read_bytes()
    expected = {row["character_id"]: row for row in json.loads(body)["character_list"]}
    found, result = await ask(answering(body), *expected)
    assert isinstance(found, dict)
    assert result == "ok"
    assert found.keys() == expected.keys()
    assert found["5428010618013876561"] == Identity("5428010618013876561", "bjacksonqa1", 2)


# answers


@pytest.mark.parametrize(
    ("given_row", "identity"),
    [
        (row(), Identity("1", "Ann", 2)),
        (row(faction="4"), Identity("1", "Ann", 4)),
        (row(1, "Ann", 2), Identity("1", "Ann", 2)),
        (row(head_id="1", name_x=None), Identity("1", "Ann", 2)),
        (row(name="<b>&\u202e"), Identity("1", "<b>&\u202e", 2)),
        (row(name="NULL"), Identity("1", None, 2)),
        (row(name="null"), Identity("1", None, 2)),
        (row(name=""), Identity("1", None, 2)),
        (row(name=None), Identity("1", None, 2)),
        (row(name=True), Identity("1", None, 2)),
        (row(name="x" * 1000), Identity("1", None, 2)),
        ({"character_id": "1", "faction_id": "3"}, Identity("1", None, 3)),
        ({"character_id": "1", "faction_id": "3", "name": "NULL"}, Identity("1", None, 3)),
        ({"character_id": "1", "faction_id": "3", "name": {}}, Identity("1", None, 3)),
        ({"character_id": "1", "name": {"first": "Ann"}}, None),
        (row(faction="NULL"), None),
        (row(faction="0"), None),
        (row(faction="5"), None),
        (row(faction="01"), None),
        (row(faction="9" * 5000), None),
        (row(faction=[]), None),
        (row(faction=True), None),
        (row("3"), None),
        (row("NULL"), None),
        (row(None), None),
        ({}, None),
        ("row", None),
        (None, None),
        ([], None),
    ],
)
async def test_a_row_says_what_it_can(given_row: object, identity: Identity | None) -> None:
    found, result = await ask(answering(rows(given_row, row("2"))))
    assert result == "ok"
    expected = {"2": Identity("2", "Ann", 2)}
    assert found == (expected if identity is None else {"1": identity} | expected)


async def test_an_answer_of_the_wrong_type_is_read_all_the_same() -> None:
    found, _ = await ask(answering(rows(row()), content_type="text/html"))
    assert found == {"1": Identity("1", "Ann", 2)}


@pytest.mark.parametrize(
    ("handler", "result"),
    [
        (answering("<!DOCTYPE html><html></html>"), "malformed"),
        (answering("<html></html>", content_type="application/json"), "malformed"),
        (answering(json.dumps(rows(row()))[:-3]), "malformed"),
        (answering(""), "malformed"),
        (answering("[]"), "malformed"),
        (answering(b"\xff{}"), "malformed"),
        (answering("[" * 100_000), "malformed"),
        (answering({}), "malformed"),
        (answering({"returned": 0}), "malformed"),
        (answering({"character_list": {}}), "malformed"),
        (answering({"item_list": []}), "malformed"),
        (compressed, "malformed"),
        (answering({"error": "service_unavailable"}), "error"),
        (answering({"error": "No data found."}), "error"),
        (answering({"error": {"a": 1}}), "error"),
        (answering({"errorCode": "SERVER_ERROR"}), "error"),
        (answering({"errorCode": "SERVER_ERROR"}, 500), "error"),
        (answering(rows(row()) | {"error": "service_unavailable"}), "error"),
        (answering(rows(row()), 500), "http"),
        (answering("down", 503), "http"),
        (answering("", 404), "http"),
        (answering("", 204), "http"),
        (answering("", 302, location="https://www.daybreakgames.com/home"), "redirect"),
        (answering("", 301, location="http://["), "redirect"),
        (answering("", 301, location="http://\x00"), "network"),
        (answering("", 301, location="htt:x"), "network"),
        (answering("", 301, location="http://xn--a/"), "network"),
        (answering("", 301, location="http://a..b:x/"), "network"),
        (answering(rows(row()), 307), "redirect"),
        (answering(b" " * (MAX_BODY_BYTES + 1)), "too_large"),
    ],
)
async def test_what_is_no_answer_is_an_outage(handler: Handler, result: str) -> None:
    error, observed = await ask(handler)
    assert type(error) is CensusUnavailable
    assert observed == result
    assert str(error).startswith("census.example ")


@pytest.mark.parametrize(
    "handler",
    [
        answering({"error": "Provided Service ID is not registered.  A valid Service ID is required"}),
        answering({"error": "Missing Service ID.  A valid Service ID is required"}, 403),
        answering("no", 403),
        answering("no", 401),
        answering({"error": "Bad request syntax."}),
        answering(
            {
                "errorCode": "SERVER_ERROR",
                "errorMessage": "INVALID_SEARCH_TERM: c:show resulted in no valid terms.",
            }
        ),
    ],
)
async def test_what_only_a_person_can_mend_is_a_refusal(handler: Handler) -> None:
    error, result = await ask(handler)
    assert type(error) is CensusRefused
    assert result == "refused"


async def test_an_id_that_is_none_to_census_is_told_apart() -> None:
    message = "INVALID_SEARCH_TERM: Invalid search term: character_id. Value must be a number."
    error, _ = await ask(answering({"errorCode": "SERVER_ERROR", "errorMessage": message}))
    assert type(error) is IdRefused


BODIES = {path.stem: path.read_bytes() for path in sorted((DATA / "auraxium_rest_errors").iterdir())}


@pytest.mark.parametrize("name", BODIES)
async def test_every_known_error_body_is_an_error(name: str) -> None:
    error, result = await ask(answering(BODIES[name]))
    assert isinstance(error, CensusError)
    unavailable = {"service-unavailable", "unknown-collection", "invalid-namespace", "empty-url", "fallback"}
    if name in unavailable or name.startswith("server-error"):
        assert isinstance(error, CensusUnavailable)
        assert result == "error"
    else:
        assert isinstance(error, CensusRefused)
        assert result == "refused"


# time


async def test_an_answer_that_trickles_ends_at_the_deadline(autojump_clock: MockClock) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await trio.sleep(1)

    async def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=trickle())

    observer = Observer()
    async with client(handler, observer) as census:
        with pytest.raises(CensusUnavailable, match="in time"):
            await census.characters(["1"])
    assert (observer.results, observer.seconds) == (["timeout"], [REQUEST_SECONDS])


async def test_the_deadline_does_not_count_the_wait_for_a_turn(autojump_clock: MockClock) -> None:
    observer = Observer()
    async with client(answering(rows()), observer, requests_per_minute=2) as census:
        began = trio.current_time()
        for _ in range(4):
            await census.characters(["1"])
    assert trio.current_time() - began == pytest.approx(180)
    assert observer.results == ["ok"] * 4
    assert observer.seconds == [0] * 4
    assert observer.left == [0, -1, -1, -1]


async def test_the_rate_holds_for_concurrent_requests_too(autojump_clock: MockClock) -> None:
    sent: list[float] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        sent.append(trio.current_time())
        return httpx.Response(200, json=rows())

    async with client(handler, requests_per_minute=30) as census, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(census.characters, ["1"])
    assert max(sum(first <= at < first + 60 for at in sent) for first in sent) <= 30
    assert len(sent) == 100


@pytest.mark.parametrize(
    ("rest_url", "service_id", "most"),
    [
        ("https://census.daybreakgames.com", "example", 10),
        ("https://census.daybreakgames.com", "s:example", 10),
        ("https://census.daybreakgames.com", "mine", 100),
        ("https://census.example", "example", 100),
    ],
)
async def test_daybreaks_shared_service_id_is_used_with_its_own_rate(
    autojump_clock: MockClock, rest_url: str, service_id: str, most: int
) -> None:
    sent = 0

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        return httpx.Response(200, json=rows())

    async with client(handler, rest_url=rest_url, service_id=Secret(service_id)) as census:
        with trio.move_on_after(60.1):
            while True:
                await census.characters(["1"])
    assert sent == most


async def test_no_more_than_so_many_requests_are_under_way(autojump_clock: MockClock) -> None:
    under_way = most = 0

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await trio.sleep(5)
        under_way -= 1
        return httpx.Response(200, json=rows())

    async with client(handler, requests_per_minute=1000) as census, trio.open_nursery() as nursery:
        for _ in range(35):
            nursery.start_soon(census.characters, ["1"])
    assert most == IN_FLIGHT


async def test_a_cancelled_wait_returns_its_token(autojump_clock: MockClock) -> None:
    async with client(answering(rows()), requests_per_minute=2) as census:
        await census.characters(["1"])
        began = trio.current_time()
        for _ in range(5):
            with trio.move_on_after(1):
                await census.characters(["1"])
        await census.characters(["1"])
        assert trio.current_time() - began == pytest.approx(60)


async def test_cookies_are_not_collected() -> None:
    sent: list[str | None] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("cookie"))
        broken = "; expires=Wed, 09 Nun 2021 10:18:14 GMT" if len(sent) == 2 else ""
        return httpx.Response(200, json=rows(), headers={"Set-Cookie": f"a{len(sent)}=1{broken}"})

    async with client(handler) as census:
        for _ in range(3):
            await census.characters(["1"])
    assert sent == [None] * 3


# over a socket


async def serve_once(stream: trio.SocketStream, *, answer: bytes) -> None:
    await stream.receive_some()
    await stream.send_all(answer)
    await stream.aclose()


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n" + b'{"character_list":[]}', "ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + b'{"character_list":[]}', "network"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n" + b" " * (MAX_BODY_BYTES + 9), "too_large"),
        (b"SSH-2.0\r\n\r\n", "network"),
        (b"", "network"),
    ],
)
async def test_over_a_real_socket(answer: bytes, result: str) -> None:
    observer = Observer()
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, partial(serve_once, answer=answer), [listener])
        port = listener.socket.getsockname()[1]
        async with client(
            answering(b""), observer, rest_url=f"http://127.0.0.1:{port}", transport=None
        ) as census:
            with nullcontext() if result == "ok" else pytest.raises(CensusUnavailable, match=r"127\.0\.0\.1"):
                assert await census.characters(["1"]) == {}
        nursery.cancel_scope.cancel()
    assert observer.results == [result]


async def test_nobody_listening_is_an_outage() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with client(answering(b""), rest_url=f"http://127.0.0.1:{port}", transport=None) as census:
        with pytest.raises(CensusUnavailable, match="ConnectError"):
            await census.characters(["1"])


# secrets


def everything_about(error: BaseException) -> str:
    """All that a careless handler could print: messages, causes, contexts and arguments."""
    parts = ["".join(traceback.format_exception(error))]
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        parts += [repr(following), str(following), repr(following.args), repr(vars(following))]
        request = getattr(following, "_request", None)
        parts.append("" if request is None else str(request.url))
        following = following.__cause__ or following.__context__
    return "\n".join(parts)


def raising(error: Callable[[httpx.Request], Exception]) -> Handler:
    async def handler(request: httpx.Request) -> httpx.Response:
        raise error(request)

    return handler


@pytest.mark.parametrize(
    "handler",
    [
        raising(lambda request: httpx.ConnectError(f"no way to {request.url}", request=request)),
        raising(lambda request: httpx.ReadError(str(request.url), request=request)),
        answering({"error": f"Provided Service ID s:{SERVICE_ID} is not registered"}),
        answering({"error": f"nothing at /s:{SERVICE_ID}/get"}),
        answering({"error": "x" * 115 + SERVICE_ID}),
        answering("", 302, location=f"https://elsewhere/s:{SERVICE_ID}"),
        answering("", 302, location=f"http://[/s:{SERVICE_ID}"),
        answering(f"<html>{SERVICE_ID}"),
        answering(SERVICE_ID, 403),
    ],
)
async def test_the_service_id_is_in_no_error_and_no_log(
    handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx")
    error, _ = await ask(handler)
    assert isinstance(error, CensusError)
    assert SERVICE_ID not in everything_about(error)
    assert SERVICE_ID not in caplog.text


async def test_a_request_over_a_socket_logs_no_url(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.connection", "httpcore.http11"):
        caplog.set_level(logging.DEBUG, logger=name)
    location = f"HTTP/1.1 302 Found\r\nLocation: /s:{SERVICE_ID}\r\nContent-Length: 0\r\n\r\n".encode()
    await test_over_a_real_socket(location, "redirect")
    assert SERVICE_ID not in caplog.text


async def test_a_message_has_one_printable_line() -> None:
    error, _ = await ask(answering({"error": "a\nb\x1b[31m\u202e" + "x" * 1000}))
    assert str(error).isprintable()
    assert len(str(error)) < 200


async def test_the_client_does_not_show_its_secret() -> None:
    async with client(answering(b"")) as census:
        assert SERVICE_ID not in repr(census)
