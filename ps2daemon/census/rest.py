"""Census over REST: who characters are, and whether they are online.

Promises:
- One request asks about up to `BATCH` characters. It waits for its turn (at most `requests_per_minute`, at most
  `IN_FLIGHT` at a time) and then takes at most `REQUEST_SECONDS`, however slowly the answer trickles.
- An answer is believed only if it is the JSON that was asked for: errors come as 200, web pages as JSON's place, redirects
  as maintenance (CENSUS.md 2.4). Rows may be missing, reordered, or lack fields; what is there is used.
- `CensusUnavailable` (wait and ask again) and `CensusRefused` (tell the operator) are the only errors that leave on purpose.
  The service id, which is in the URL, is in no error, in no error's context, and in no library's log.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from http.cookiejar import CookieJar
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import httpx
import msgspec
import trio

from ps2daemon import __version__
from ps2daemon.census.limits import TokenBucket
from ps2daemon.errors import CensusError, CensusRefused, CensusUnavailable
from ps2daemon.model.tables import UNKNOWN_FACTION, factions
from ps2daemon.secret import Secret, hush, redact, service_name

BATCH: Final = 100
"""Characters a request; 50 to 150 are in use elsewhere, the length of the URL is what limits it."""
REQUEST_SECONDS: Final = 30.0
"""From sending to the last byte: real answers take up to about this (CENSUS.md R7), so that idle timeouts don't help."""
IN_FLIGHT: Final = 10
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""A hundred rows of what is asked for are 15 KiB; whole documents would be 1 MiB. In memory its
objects are 50 times as large at worst, where it is one list in the other."""
MAX_NAME: Final = 64
"""Characters of a name; the game allows half of it."""
EXAMPLE_PER_MINUTE: Final = 10
"""What Daybreak grants the shared service id `example`."""
NAMESPACES: Final = {"ps2": "ps2:v2", "ps2ps4us": "ps2ps4us:v2", "ps2ps4eu": "ps2ps4eu:v2"}
"""By the stream's environment."""
RESULTS: Final = (
    "ok",
    "error",
    "http",
    "malformed",
    "network",
    "redirect",
    "refused",
    "timeout",
    "too_large",
)
"""Every result that `CensusObserver.requested` can be given."""

_DAYBREAK: Final = "census.daybreakgames.com"
_SHOW: Final = "character_id,name.first,faction_id"
_ABSENT: Final = frozenset({"", "NULL", "null"})
_MAX_SHOWN: Final = 120

# They write whole URLs (httpx at INFO) and headers (httpcore at DEBUG).
hush("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))


class IdRefused(CensusRefused):
    """One of the ids asked about is none to Census; the others may be fine."""


class Identity(msgspec.Struct, frozen=True):
    """Who a character is. `name` is None where Census left it out; players choose it, so it may be anything."""

    character_id: str
    name: str | None
    faction_id: int


class Presence(msgspec.Struct, frozen=True):
    """Whether a character was online when that was asked, at `asked` by `trio.current_time()`."""

    online: bool
    asked: float


class CensusObserver:
    """What happens, one method each, for logs and metrics; these do nothing."""

    def requested(self, result: str, seconds: float) -> None:
        """A request ended; `result` is one of `RESULTS`, `seconds` the time since it was sent."""

    def tokens(self, left: float) -> None:
        """How many requests could be sent at once; negative while some wait."""


class _Failure(msgspec.Struct, frozen=True):
    """Why a request has no answer: its result and the error to raise."""

    result: str
    error: CensusError


class _Body(msgspec.Struct):
    character_list: object = None
    characters_online_status_list: object = None
    error: object = None
    error_code: object = msgspec.field(default=None, name="errorCode")
    error_message: object = msgspec.field(default=None, name="errorMessage")


_decoder = msgspec.json.Decoder(_Body)


class _NoCookies(CookieJar):
    """Takes none: nobody needs them, nothing bounds them, and over a broken one the library writes a traceback."""

    def extract_cookies(self, response: object, request: object) -> None:
        pass


class CensusClient:
    """A client for life, used as an asynchronous context manager.

    Args:
        rest_url: `https:`, without the service id.
        environment: the stream's, a key of `NAMESPACES`.
        service_id: with or without its prefix `s:`.
        requests_per_minute: the most in any 60 s; at least 2.
        transport: for tests.
    """

    def __init__(
        self,
        *,
        rest_url: str,
        environment: str,
        service_id: Secret,
        requests_per_minute: int,
        observer: CensusObserver | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if environment not in NAMESPACES:
            raise ValueError(f"environment {environment!r} is none of {', '.join(NAMESPACES)}")
        host = urlsplit(rest_url).hostname or ""
        name = service_name(service_id)
        if host == _DAYBREAK and name == "s:example":
            requests_per_minute = min(requests_per_minute, EXAMPLE_PER_MINUTE)
        self._base = rest_url.rstrip("/")
        self._shown = host
        self._path = f"/{name}/get/{NAMESPACES[environment]}"
        self._service_id = service_id
        self._observer = observer or CensusObserver()
        self._limiter = trio.CapacityLimiter(IN_FLIGHT)
        self._bucket = TokenBucket.per_minute(requests_per_minute, now=trio.current_time())
        self._http = httpx.AsyncClient(
            # "identity": what a compressed answer grows to is known only after the fact.
            headers={
                "User-Agent": f"ps2daemon/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            cookies=_NoCookies(),
            timeout=None,  # there is a total deadline
            follow_redirects=False,
            trust_env=False,
            transport=transport or _transport(),
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def characters(self, ids: Sequence[str]) -> dict[str, Identity]:
        """Who these characters are, with one request.

        Args:
            ids: up to `BATCH`, decimal.

        Returns:
            those that Census knows, by id; a new character is absent until its first session ends.

        Raises:
            CensusUnavailable: no usable answer.
            IdRefused: Census does not take one of the ids.
            CensusRefused: it does not take the service id, or the request.
        """
        wanted = _wanted(ids)
        if not wanted:
            return {}
        _, rows = await self._get("character", f"{_about(wanted)}&c:show={_SHOW}")
        return {
            identity.character_id: identity
            for identity in map(_identity, rows)
            if identity is not None and identity.character_id in wanted
        }

    async def online(self, ids: Sequence[str]) -> dict[str, Presence]:
        """Whether these characters are online, with one request.

        Args:
            ids: up to `BATCH`, decimal.

        Returns:
            what Census tells, by id. Of the others nothing is known: a new character is absent, and rows may be missing (CENSUS.md R1, R13).

        Raises:
            CensusUnavailable, IdRefused, CensusRefused: as `characters`.
        """
        wanted = _wanted(ids)
        if not wanted:
            return {}
        asked, rows = await self._get("characters_online_status", _about(wanted))
        return {
            character_id: Presence(online, asked)
            for character_id, online in filter(None, map(_status, rows))
            if character_id in wanted
        }

    async def _get(self, collection: str, query: str) -> tuple[float, list[object]]:
        """The rows of a collection, after waiting for a turn, and when they were asked for."""
        async with self._limiter:
            await self._turn()
            start = trio.current_time()
            outcome: list[object] | _Failure = _Failure(
                "timeout", self._unavailable("did not answer in time")
            )
            with trio.move_on_after(REQUEST_SECONDS):
                outcome = await self._attempt(collection, query)
        seconds = trio.current_time() - start
        if isinstance(outcome, _Failure):
            self._observer.requested(outcome.result, seconds)
            raise outcome.error
        self._observer.requested("ok", seconds)
        return start, outcome

    async def _turn(self) -> None:
        """Waits for a token; a cancelled wait returns it."""
        wait = self._bucket.reserve(trio.current_time())
        self._observer.tokens(self._bucket.tokens(trio.current_time()))
        waited = False
        try:
            if wait > 0:
                await trio.sleep(wait)
            waited = True
        finally:
            if not waited:
                self._bucket.give_back()

    async def _attempt(self, collection: str, query: str) -> list[object] | _Failure:
        """One exchange. Failures are returned: what is raised while another error is handled would carry that one, and its URL, along."""
        body = bytearray()
        try:
            async with self._http.stream("GET", f"{self._base}{self._path}/{collection}?{query}") as response:
                status = response.status_code
                if response.headers.get("content-encoding", "identity").lower() != "identity":
                    return self._failed("malformed", "compressed its answer, though it was told not to")
                # Cancelled rather than left, since httpx's nested generators end in order only by what is raised inside.
                with trio.CancelScope() as reading:
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > MAX_BODY_BYTES:
                            reading.cancel()
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            # The latter two, which are not its own, over where it is redirected to: httpx looks there though it does not follow.
            return self._failed("network", f"can't be reached: {type(error).__name__}")
        if len(body) > MAX_BODY_BYTES:
            return self._failed("too_large", f"answered with more than {MAX_BODY_BYTES} bytes")
        if 300 <= status < 400:
            return self._failed("redirect", f"redirects (HTTP {status}), as it does during maintenance")
        return self._rows(collection, status, bytes(body))

    def _rows(self, collection: str, status: int, body: bytes) -> list[object] | _Failure:
        try:
            answer = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            answer = None
        if answer is not None and (failure := self._told(answer)) is not None:
            return failure
        if status in (401, 403):
            return self._refused(f"refuses the request (HTTP {status})")
        if status != 200:
            return self._failed("http", f"answered HTTP {status}")
        if answer is None:
            kind = "a web page" if body.lstrip()[:1] == b"<" else f"{len(body)} bytes that are no JSON object"
            return self._failed("malformed", f"answered with {kind}")
        rows = getattr(answer, f"{collection}_list")
        if not isinstance(rows, list):
            return self._failed("malformed", f"answered without a {collection}_list")
        return rows

    def _told(self, answer: _Body) -> _Failure | None:
        """The error that an answer tells, whatever its status is."""
        parts = (answer.error, answer.error_code, answer.error_message)
        text = " ".join(part for part in parts if isinstance(part, str))
        if not text:
            return None if all(part is None for part in parts) else self._failed("error", "answered an error")
        shown = redact("".join(char if char.isprintable() else " " for char in text), self._service_id)
        shown = f"answered {shown[:_MAX_SHOWN]!r}"
        if "service id" in text.lower():
            return self._refused(shown)
        if "INVALID_SEARCH_TERM" in text and "character_id" in text:
            return _Failure("refused", IdRefused(f"{self._shown} {shown}"))
        if "INVALID_SEARCH_TERM" in text or "Bad request syntax" in text:
            return _Failure("refused", CensusRefused(f"{self._shown} {shown}"))
        return self._failed("error", shown)

    def _unavailable(self, what: str) -> CensusUnavailable:
        return CensusUnavailable(f"{self._shown} {what}")

    def _failed(self, result: str, what: str) -> _Failure:
        return _Failure(result, self._unavailable(what))

    def _refused(self, what: str) -> _Failure:
        return _Failure("refused", CensusRefused(f"{self._shown} {what}: is the service id registered?"))


def _transport() -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(
        verify=ssl.create_default_context(),
        # The pool is never full, since a cancel while it is loses connections for good.
        limits=httpx.Limits(max_connections=2 * IN_FLIGHT, max_keepalive_connections=IN_FLIGHT),
        trust_env=False,
    )


def _wanted(ids: Sequence[str]) -> list[str]:
    """Each id once."""
    wanted = list(dict.fromkeys(ids))
    if len(wanted) > BATCH or not all(id.isascii() and id.isdigit() for id in wanted):
        raise ValueError(f"up to {BATCH} decimal ids are asked about at a time")
    return wanted


def _about(wanted: Sequence[str]) -> str:
    """The query for a row of each."""
    return f"character_id={','.join(wanted)}&c:limit={len(wanted)}"


def _status(row: object) -> tuple[str, bool] | None:
    """Whose row it is, and whether it says online (the world's id) or offline (0); None where it says neither."""
    if not isinstance(row, dict):
        return None
    character_id, status = _text(row.get("character_id")), _text(row.get("online_status"))
    if character_id is None or status is None or not (status.isascii() and status.isdigit()):
        return None
    return character_id, status.strip("0") != ""


def _identity(row: object) -> Identity | None:
    """What a row says, or None where it lacks the id or an empire that is known."""
    if not isinstance(row, dict):
        return None
    character_id, faction = _text(row.get("character_id")), _text(row.get("faction_id"))
    faction_id = next((known for known in factions() if str(known) == faction), UNKNOWN_FACTION)
    if character_id is None or faction_id == UNKNOWN_FACTION:
        return None
    name = row.get("name")
    first = _text(name.get("first")) if isinstance(name, dict) else None
    return Identity(character_id, first if first and len(first) <= MAX_NAME else None, faction_id)


def _text(value: object) -> str | None:
    """A value of a row; numbers are accepted in the place of strings, and what stands for nothing is None."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return None if text in _ABSENT else text
