"""One cluster of Elasticsearch: requests to it, and what its errors mean.

`Server` asks and decodes; it retries nothing, since whoever asks knows what may be asked twice. At most `CONNECTIONS` requests are in flight: httpx
loses connections for good when a request is cancelled that waits for one.

Bodies are bytes both ways. The client would make of them dictionaries, for which a batch takes several times as long as for the documents.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

import elastic_transport
import elasticsearch
import httpx
import msgspec
import trio
from elastic_transport import BaseAsyncNode, HttpHeaders, HttpxAsyncHttpNode, NodeConfig
from elastic_transport._node import NodeApiResponse
from elastic_transport.client_utils import url_to_node_config
from elasticsearch import AsyncElasticsearch

from ps2daemon.config import ElasticsearchSettings
from ps2daemon.errors import ConfigError, StoreError, StoreMismatch, StoreUnavailable

CONNECTIONS: Final = 8
MAJORS: Final = (8, 9)
NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"
MAX_SHOWN: Final = 300
"""Characters of a server's reason that are shown."""
_NO_ELASTICSEARCH: Final = "what answers at {name} is no Elasticsearch {majors} ({found}): set store.url to a server of one of these versions"

_HERE: Final = ("localhost", "127.0.0.1", "::1")
"""On the same machine, to compress an answer is a quarter of the work of making it."""

T = TypeVar("T")
_encoder = msgspec.json.Encoder()


class Cause(msgspec.Struct):
    """What went wrong, as the server says it."""

    type: str = ""
    reason: str | None = None
    root_cause: list[Cause] = []
    caused_by: Cause | None = None


class _ErrorBody(msgspec.Struct):
    error: Cause | str = ""


class _VersionBody(msgspec.Struct):
    number: str
    distribution: str = "elasticsearch"


class _RootBody(msgspec.Struct):
    version: _VersionBody


class _Raw(elastic_transport.Serializer):
    """Leaves bytes as they are."""

    mimetype = JSON

    def loads(self, data: bytes) -> bytes:
        return data

    def dumps(self, data: bytes) -> bytes:
        return data


class _Once:
    """One body, as what httpx iterates over. Its own iterator is a generator, which a cancelled request leaves behind half done."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        content, self._content = self._content, None
        if content is None:
            raise StopAsyncIteration
        return content


class _Body(httpx.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> _Once:
        return _Once(self._content)


class _Transport(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.stream = _Body(request.content)
        return await super().handle_async_request(request)


class _Node(HttpxAsyncHttpNode):
    """Speaks plain JSON, which each server answers in its own version: one of major 8 refuses what a client of major 9 asks for.

    The environment's proxies are not for it: the server is a neighbour.
    """

    def __init__(self, config: NodeConfig) -> None:
        BaseAsyncNode.__init__(self, config)
        host = f"[{config.host}]" if ":" in config.host else config.host  # IPv6
        self.client = httpx.AsyncClient(
            base_url=f"{config.scheme}://{host}:{config.port}{config.path_prefix}",
            headers=None if config.host not in _HERE else {"accept-encoding": "identity"},
            transport=_Transport(
                verify=config.ssl_context or False,
                limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
                trust_env=False,
            ),
            timeout=None,  # `Server.ask` has a deadline over all of it
            trust_env=False,
        )

    async def perform_request(  # type: ignore[override]
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: object = None,
    ) -> NodeApiResponse:
        plain = dict(headers or {})
        plain["accept"] = JSON
        if body:
            plain["content-type"] = NDJSON if "ndjson" in plain.get("content-type", "") else JSON
        return await super().perform_request(method, target, body, HttpHeaders(plain), request_timeout=None)


def _client(settings: ElasticsearchSettings) -> AsyncElasticsearch:
    context = None
    if any(url.startswith("https://") for url in settings.urls):
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"store.ca_file: {settings.ca_file} can't be used ({error}): give a file of certificates in PEM"
            ) from None
    nodes = [
        url_to_node_config(url, use_default_ports_for_scheme=True).replace(
            ssl_context=context if url.startswith("https://") else None
        )
        for url in settings.urls
    ]
    basic = None
    if settings.username is not None and settings.password is not None:
        # Given as text, the client takes no letters beyond Latin-1.
        basic = b64encode(f"{settings.username}:{settings.password.reveal()}".encode()).decode()
    return AsyncElasticsearch(
        nodes,
        node_class=_Node,
        max_retries=0,
        retry_on_timeout=False,
        serializers={JSON: _Raw(), NDJSON: _Raw()},
        basic_auth=basic,
        api_key=settings.api_key.reveal() if settings.api_key is not None else None,
    )


class Server:
    """See the module. Nothing is asked before the first call."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        self.name = " or ".join(sorted(settings.urls))
        self._timeout = settings.timeout_seconds
        self._client = _client(settings)
        self._limiter = trio.CapacityLimiter(CONNECTIONS)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def version(self) -> str:
        """The server's version.

        Raises:
            StoreMismatch: it is none of `MAJORS`, or no Elasticsearch, or does not let this user in.
            StoreUnavailable: it does not answer.
        """
        try:
            root = await self.ask("GET", "/", type=_RootBody, trusted=False)
        except _Denied as error:
            raise StoreMismatch(str(error)) from error
        number = root.version.number
        major = number.partition(".")[0]
        if root.version.distribution != "elasticsearch" or major not in map(str, MAJORS):
            raise self._no_elasticsearch(f"{root.version.distribution} {number}")
        return number

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        type: type[T],
        params: Mapping[str, str] | None = None,
        trusted: bool = True,
        absent: T | None = None,
    ) -> T:
        """Asks once, and decodes the answer.

        Args:
            body: bytes, as lines of JSON; or what is encoded as JSON.
            type: of the answer; fields that it does not name are left out.
            absent: what to return where the server says that there is nothing of the kind (404).
            trusted: it was an Elasticsearch before, so that another kind of answer is an outage of what is in between.

        Raises:
            StoreUnavailable: an outage, or something that a person has to mend while this program waits.
            StoreMismatch: the server does not understand the request.
        """
        if body is None:
            content, kind = None, JSON
        elif isinstance(body, bytes):
            content, kind = body, NDJSON
        else:
            content, kind = _encoder.encode(body), JSON
        headers = {"accept": JSON} if content is None else {"accept": JSON, "content-type": kind}
        with self._foreign_errors(trusted), trio.fail_after(self._timeout):
            async with self._limiter:
                try:
                    answer = await self._client.perform_request(
                        method, path, params=params, headers=headers, body=content
                    )
                except elasticsearch.NotFoundError:
                    if absent is None:
                        raise
                    return absent
        try:
            return msgspec.json.decode(answer.body, type=type)
        except (msgspec.DecodeError, TypeError) as error:
            raise self._strange_answer(trusted, f"its answer to {method} {path}: {error}") from error

    @contextmanager
    def _foreign_errors(self, trusted: bool) -> Iterator[None]:
        """The one place where errors of the client become this program's."""
        try:
            yield
        except (trio.TooSlowError, elastic_transport.ConnectionTimeout) as error:
            raise StoreUnavailable(
                f"Elasticsearch at {self.name} did not answer within {self._timeout:g} s"
            ) from error
        except elastic_transport.ConnectionError as error:
            raise StoreUnavailable(self._unreachable(error)) from error
        except elastic_transport.SerializationError as error:
            raise self._strange_answer(trusted, "it does not answer in JSON") from error
        except elasticsearch.UnsupportedProductError as error:
            raise self._strange_answer(trusted, _product_of(error.body)) from error
        except elasticsearch.ApiError as error:
            raise self._refusal(error, trusted) from error

    def _unreachable(self, error: elastic_transport.ConnectionError) -> str:
        failed = _tls_error(error)
        if failed is None:
            return f"can't reach Elasticsearch at {self.name}: {_short(error.message)}"
        if isinstance(failed, ssl.SSLCertVerificationError):
            return (
                f"Elasticsearch at {self.name} has a certificate that is not trusted ({_short(failed.verify_message)}): "
                "set store.ca_file to the certificates of who signed it"
            )
        return f"what is at {self.name} does not speak TLS as it should ({_short(str(failed.reason or failed))}): check store.url"

    def _strange_answer(self, trusted: bool, found: str) -> StoreMismatch | StoreUnavailable:
        if trusted:
            return StoreUnavailable(f"Elasticsearch at {self.name} is not itself: {_short(found)}")
        return self._no_elasticsearch(_short(found))

    def _no_elasticsearch(self, found: str) -> StoreMismatch:
        majors = " or ".join(map(str, MAJORS))
        return StoreMismatch(_NO_ELASTICSEARCH.format(name=self.name, majors=majors, found=found))

    def _refusal(self, error: elasticsearch.ApiError, trusted: bool) -> StoreUnavailable | StoreMismatch:
        status = error.meta.status
        kind, reason = reason_of(error.body)
        if status in (401, 403) and "cluster_block" not in kind:
            return _Denied(
                f"Elasticsearch at {self.name} does not let this user do that ({status}: {reason}): check store.username and "
                "store.password_file, or store.api_key_file, and what they are allowed"
            )
        if not trusted and status not in (429, 502, 503, 504):
            return self._no_elasticsearch(f"status {status}: {reason}")
        if status in (400, 405, 406, 413):
            return StoreMismatch(f"Elasticsearch at {self.name} refuses a request ({status}: {reason})")
        return StoreUnavailable(f"Elasticsearch at {self.name}: {outage(status, kind, reason)}")


async def together(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Their results, in order, of all of them at once.

    Raises:
        StoreError: the first one that failed, when all have ended: none is left behind half done.
    """
    if len(calls) == 1:
        return [await calls[0]()]
    found: dict[int, T] = {}
    failed: list[StoreError] = []

    async def one(place: int) -> None:
        try:
            found[place] = await calls[place]()
        except StoreError as error:
            failed.append(error)

    async with trio.open_nursery() as nursery:
        for place in range(len(calls)):
            nursery.start_soon(one, place)
    if failed:
        raise failed[0]
    return [found[place] for place in range(len(calls))]


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """What went wrong with TLS, if that is behind an error: the client says only that there was no connection."""
    at: BaseException | None = error
    while at is not None and not isinstance(at, ssl.SSLError):
        at = at.__cause__ or at.__context__
    return at


class _Denied(StoreUnavailable):
    """No or wrong credentials: an outage to one who had been let in, and a wrong setting to one who never was."""


def _product_of(body: object) -> str:
    """What a server is that does not say that it is an Elasticsearch, as far as it can be told."""
    with suppress(msgspec.DecodeError):
        if isinstance(body, bytes):
            version = msgspec.json.decode(body, type=_RootBody).version
            return f"{version.distribution} {version.number}"
    return "it does not say that it is one"


def reason_of(body: object) -> tuple[str, str]:
    """The type of an error and its reason, as the server says them; what is no error of its own as it is."""
    if not isinstance(body, bytes):
        return "", _short(str(body))
    try:
        cause = msgspec.json.decode(body, type=_ErrorBody).error
    except msgspec.DecodeError:
        return "", _short(body.decode(errors="replace"))
    if isinstance(cause, str):
        return "", _short(cause)
    return cause_of(cause)


def cause_of(error: Cause) -> tuple[str, str]:
    """The type and the reason of what is at the bottom of an error, and what it was about."""
    root = error.root_cause[0] if error.root_cause else error
    reason = root.reason or root.type
    if root.caused_by is not None and root.caused_by.reason:
        reason = f"{reason}: {root.caused_by.reason}"
    return root.type, _short(reason)


def outage(status: int, kind: str, reason: str) -> str:
    """What a person reads of a refusal that may pass."""
    if "cluster_block" in kind or "read-only" in reason:
        return (
            f"an index may not be written ({_short(reason)}): where the disk is too full, make room, and the server lifts that by itself; "
            "otherwise lift the block from the index"
        )
    if status == 429:
        return f"the server has too much to do (429: {_short(reason)})"
    if status == 404:
        return f"something is missing there (404: {_short(reason)})"
    return f"status {status}: {_short(reason)}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
