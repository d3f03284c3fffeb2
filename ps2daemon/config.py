"""The configuration: one TOML file, overridden key by key by the environment, as frozen and validated settings.

Every key of the file has a row in `settings_keys.py`, which says what is accepted and what the default is. `PS2DAEMON_<SECTION>_<KEY>` overrides a
key; for `[[stream]]` that is the first stream, and one is made if the file has none. Lists are written with commas there.
Relative paths are relative to the file's folder, or to the working directory where there is no file.

Whatever is wrong is a `ConfigError` of one line: which key, what was given, what is accepted. A secret is never in one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ps2daemon.errors import ConfigError
from ps2daemon.model.tables import World, worlds
from ps2daemon.secret import Secret
from ps2daemon.settings_keys import KEYS, Given, Key
from ps2daemon.settings_secrets import API_KEY, PASSWORD, SERVICE_ID, FoundSecret, read_secret

PREFIX: Final = "PS2DAEMON_"
CONFIG_VARIABLE: Final = "PS2DAEMON_CONFIG"
ANY_ENVIRONMENT: Final = "all"
"""A mirror's name for a stream of every environment."""

MAX_FILE_BYTES: Final = 64 * 1024
"""Twenty times the example, which shows every key."""
MAX_LINE_BYTES: Final = 2 * 1024
"""A key of n parts takes the parser n² / 2 words: 5 MB in a line, and so 150 MB in all."""
MAX_SHOWN: Final = 80
"""Characters of what was given, in an error."""
_REGISTERED_ONLY: Final = (".planetside2.com", ".daybreakgames.com")
"""Hosts that answer only to a registered service id."""
_LATER: Final = {"queue": ("kafka", "sqlite")}
"""Kinds whose names are fixed and which this version can't do yet, with the one that it can."""


class CensusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[census]`. `service_id` is without its prefix `s:`, or None where none was given."""

    service_id: Secret | None
    rest_url: str
    requests_per_minute: int


class StreamConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[stream]]`. Times are seconds."""

    url: str
    environment: str
    worlds: tuple[int, ...]
    connections: int
    verify_seconds: float
    reconnect_seconds: float


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[queue]`. `retain`: how many acked frames are kept for a replay."""

    kind: str
    directory: Path
    max_bytes: int
    retain: int
    brokers: tuple[str, ...]
    topic: str


class ElasticsearchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What of `[store]` concerns Elasticsearch.

    Attributes:
        urls: one or several hosts of one cluster.
        username, password: basic authentication; both or none.
        api_key: instead of them, as the server encoded it.
        ca_file: certificates to trust instead of the system's.
        replicas: of each new index.
        timeout_seconds: how long one request may take.
    """

    urls: tuple[str, ...]
    index_prefix: str = "ps2"
    username: str | None = None
    password: Secret | None = None
    api_key: Secret | None = None
    ca_file: Path | None = None
    replicas: int = 0
    timeout_seconds: float = 30.0


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[store]`. `path` is SQLite's."""

    kind: str
    path: Path
    elasticsearch: ElasticsearchSettings


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[web]`. Port 0 stands for any free port; `cache_directory` is where `serve` keeps what it read of a store on another server."""

    host: str
    port: int
    metrics_port: int
    cache_directory: Path


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured.

    Attributes:
        path: the file that was read, or None.
        streams: at least one.
    """

    path: Path | None
    census: CensusSettings
    streams: tuple[StreamConfig, ...]
    queue: QueueSettings
    store: StoreSettings
    web: WebSettings

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All that must be seen in no log."""
        store = self.store.elasticsearch
        return tuple(filter(None, (self.census.service_id, store.password, store.api_key)))


_Section = dict[str, Given]


def load_settings(path: Path | None, environ: Mapping[str, str], *, secret: bool = True) -> Settings:
    """Reads the file, if there is one, and lays the environment over it.

    Args:
        path: the file; None for defaults and environment alone.
        environ: the environment variables.
        secret: read the service id too; without, a person who may not read it can still ask for everything else. The store's own secrets are
            read in any case, since there is no asking without them.

    Raises:
        ConfigError: the file can't be read, or anything in it or in the environment is not accepted.
    """
    sections, streams = _from_file(path)
    _lay_over(sections, streams, environ)
    base = (path.parent if path is not None else Path()).absolute()
    values = {name: _read_section(name, sections.get(name, {}), base) for name in KEYS if name != "stream"}
    for name, (kind, instead) in _LATER.items():
        if values[name]["kind"] == kind:
            raise ConfigError(f"{name}.kind: {kind!r} is not in this version yet; accepted is {instead!r}")
    census = values["census"]
    service_id = read_secret(SERVICE_ID, sections.get("census", {}), census, environ) if secret else None
    return Settings(
        path=path,
        census=CensusSettings(
            service_id=service_id.secret if service_id is not None else None,
            rest_url=census["rest_url"],
            requests_per_minute=census["requests_per_minute"],
        ),
        streams=tuple(_stream(number, given, base) for number, given in enumerate(streams, 1)),
        queue=QueueSettings(**values["queue"]),
        store=StoreSettings(
            kind=values["store"]["kind"],
            path=values["store"]["path"],
            elasticsearch=_elasticsearch(sections.get("store", {}), values["store"], environ),
        ),
        web=WebSettings(**values["web"]),
    )


def service_id_for(settings: Settings, url: str) -> Secret:
    """The service id to show to `url`; Census's own "example" where none was given and anything will do.

    Raises:
        ConfigError: the host is Daybreak's, and there is none.
    """
    if settings.census.service_id is not None:
        return settings.census.service_id
    host = urlsplit(url).hostname or ""
    if host.endswith(_REGISTERED_ONLY):
        raise ConfigError(
            f"census.service_id_file: none was given, and {host} answers only to a registered service id; give a file that"
            f" holds it, the variable {PREFIX}CENSUS_SERVICE_ID, or systemd's credential {SERVICE_ID.credential!r}"
        )
    return Secret("example")


def configured(environ: Mapping[str, str]) -> bool:
    """Whether the environment holds any key."""
    return any(_key_of(name) is not None for name in environ)


def _from_file(path: Path | None) -> tuple[dict[str, _Section], list[_Section]]:
    """The sections, and the streams in order; only names are checked."""
    if path is None:
        return {}, []
    document = _parse(path)
    sections: dict[str, _Section] = {}
    streams: list[_Section] = []
    for name, content in document.items():
        if name not in KEYS:
            raise ConfigError(
                f"{_shown(name)} in {path}: unknown section{_did_you_mean(name, KEYS)}; accepted are {', '.join(KEYS)}"
            )
        if name == "stream":
            if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
                raise ConfigError(
                    f"stream in {path}: write [[stream]], in double brackets, once for each stream"
                )
            for number, row in enumerate(content, 1):
                streams.append(_section("stream", f"stream[{number}]", row, path))
        elif isinstance(content, dict):
            sections[name] = _section(name, name, content, path)
        else:
            raise ConfigError(f"{name} in {path}: is a section; write [{name}] and its keys below")
    return sections, streams


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"can't read the configuration {path}: {error.strerror}; copy config.example.toml and give --config FILE"
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"can't read the configuration {path}: it is larger than {MAX_FILE_BYTES} bytes")
    for number, line in enumerate(content.split(b"\n"), 1):
        if len(line) > MAX_LINE_BYTES:
            raise ConfigError(
                f"can't read the configuration {path}: line {number} is longer than {MAX_LINE_BYTES} bytes"
            )
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"can't read the configuration {path}: byte {error.start} is not UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = str(error)[: 2 * MAX_SHOWN]
        raise ConfigError(f"can't read the configuration {path}: it is not TOML: {reason}") from None


def _section(name: str, shown: str, content: Mapping[str, object], path: Path) -> _Section:
    keys = KEYS[name]
    for key in content:
        if key not in keys:
            raise ConfigError(
                f"{shown}.{_shown(key)} in {path}: unknown key{_did_you_mean(key, keys)}; accepted are {', '.join(keys)}"
            )
    return {key: Given(value, f"{shown}.{key} in {path}") for key, value in content.items()}


def _lay_over(sections: dict[str, _Section], streams: list[_Section], environ: Mapping[str, str]) -> None:
    if not streams:
        streams.append({})
    known = {f"{PREFIX}{section}_{key}".upper() for section, keys in KEYS.items() for key in keys}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        found = _key_of(variable)
        if found is None:
            # Other variables with this prefix are not ours: Kubernetes, for one, makes some for a service of this name.
            similar = _did_you_mean(variable, known)
            if similar or variable.startswith(tuple(f"{PREFIX}{section.upper()}_" for section in KEYS)):
                raise ConfigError(f"{_shown(variable)} in the environment: unknown key{similar}")
            continue
        section, key = found
        given = Given(environ[variable], f"{variable} in the environment", from_environment=True)
        (streams[0] if section == "stream" else sections.setdefault(section, {}))[key] = given


def _key_of(variable: str) -> tuple[str, str] | None:
    section, _, key = variable.removeprefix(PREFIX).lower().partition("_")
    if variable != variable.upper() or not variable.startswith(PREFIX) or key not in KEYS.get(section, {}):
        return None
    return section, key


def _read_section(name: str, section: _Section, base: Path) -> dict[str, Any]:
    """Every key's value, checked, with defaults where nothing was given."""
    values = {}
    for name_of_key, key in KEYS[name].items():
        given = section.get(name_of_key)
        value = key.default if given is None else _read(key, given)
        values[name_of_key] = base / value if isinstance(value, Path) else value
    return values


def _read(key: Key, given: Given) -> object:
    try:
        value = key.parse(str(given.value)) if given.from_environment else given.value
        return key.check(value)
    except ValueError as error:
        shown = "the value" if key.hidden(given.value) else _short(given.value)
        reason = f" ({_shown(str(error))})" if str(error) else ""
        raise ConfigError(
            f"{given.where}: {shown} is not accepted{reason}; accepted is {key.accepted}"
        ) from None


def _stream(number: int, section: _Section, base: Path) -> StreamConfig:
    values = _read_section("stream", section, base)
    environment = values["environment"]
    known = {
        world.world_id: world
        for world in worlds().values()
        if environment in (world.environment, ANY_ENVIRONMENT)
    }
    if not values["worlds"]:
        values["worlds"] = tuple(sorted(world.world_id for world in known.values() if world.live))
    for world_id in values["worlds"]:
        if world_id not in known:
            where = section["worlds"].where if "worlds" in section else f"stream[{number}].worlds"
            raise ConfigError(
                f"{where}: {world_id} is no world of environment {environment!r}; accepted are {_shown_worlds(known.values())}"
            )
    return StreamConfig(**values)


def _shown_worlds(known: Iterable[World]) -> str:
    """Those that are up first, since one of them is meant; the others by number."""
    live = [f"{world.world_id} ({world.name})" for world in known if world.live]
    rest = [str(world.world_id) for world in known if not world.live]
    return ", ".join(live) + (f"; and, not up today, {', '.join(rest)}" if rest else "")


def _elasticsearch(
    section: _Section, values: Mapping[str, Any], environ: Mapping[str, str]
) -> ElasticsearchSettings:
    """Secrets and certificates are looked at only where it is the store."""
    password = api_key = None
    if values["kind"] == "elasticsearch":
        password = read_secret(PASSWORD, section, values, environ)
        api_key = read_secret(API_KEY, section, values, environ)
        _check_user(section.get("username"), password, api_key)
        if values["ca_file"] is not None:
            _check_certificates(values["ca_file"], section["ca_file"].where)
    return ElasticsearchSettings(
        urls=values["url"],
        index_prefix=values["index_prefix"],
        username=values["username"],
        password=password.secret if password is not None else None,
        api_key=api_key.secret if api_key is not None else None,
        ca_file=values["ca_file"],
        replicas=values["replicas"],
        timeout_seconds=values["timeout_seconds"],
    )


def _check_user(username: Given | None, password: FoundSecret | None, api_key: FoundSecret | None) -> None:
    """A name and its password, or an API key, or none of them."""
    first = username or password
    if first is not None and api_key is not None:
        raise ConfigError(
            f"{first.where}: there is an API key too ({api_key.where}); give a username with its password, or an API key"
        )
    if username is not None and password is None:
        raise ConfigError(
            f"{username.where}: there is no password to it; give store.password_file, the variable {PREFIX}STORE_PASSWORD, or"
            f" systemd's credential {PASSWORD.credential!r}"
        )
    if password is not None and username is None:
        raise ConfigError(f"{password.where}: there is no username to it; give store.username")


def _check_certificates(path: Path, where: str) -> None:
    import ssl  # only they need it

    accepted = "accepted is a readable file of certificates in PEM"
    try:
        path.open("rb").close()  # to have a plain reason: the next line has OpenSSL's
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigError(f"{where}: {path} holds no certificate; {accepted}") from None
    except OSError as error:
        raise ConfigError(f"{where}: can't read {path}: {error.strerror}; {accepted}") from None


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    similar = difflib.get_close_matches(name[:MAX_SHOWN], list(known), n=1, cutoff=0.75)
    return f", did you mean {similar[0]}?" if similar else ""


def _short(value: object) -> str:
    """A value of any size as something that fits a line."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def _shown(text: str) -> str:
    """What a person wrote, as it is where it fits a line."""
    return text if text.isprintable() and len(text) <= MAX_SHOWN else _short(text)
