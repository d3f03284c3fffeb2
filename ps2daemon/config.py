"""The configuration: one TOML file, overridden key by key by the environment, as frozen and validated settings.

Every key of the file has a row in `settings_keys.py`, which says what is accepted and what the default is. `PS2DAEMON_<SECTION>_<KEY>` overrides a
key; for `[[stream]]` that is the first stream, and one is made if the file has none. Lists are written with commas there.
Relative paths are relative to the file's folder, or to the working directory where there is no file.

Whatever is wrong is a `ConfigError` of one line: which key, what was given, what is accepted. The service id is never in one.
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
from ps2daemon.settings_keys import KEYS, Key

PREFIX: Final = "PS2DAEMON_"
CONFIG_VARIABLE: Final = "PS2DAEMON_CONFIG"
CREDENTIAL: Final = "service-id"
ANY_ENVIRONMENT: Final = "all"
"""A mirror's name for a stream of every environment."""

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_SERVICE_ID: Final = 128
_REGISTERED_ONLY: Final = (".planetside2.com", ".daybreakgames.com")
"""Hosts that answer only to a registered service id."""
_LATER: Final = {"queue": ("kafka", "sqlite"), "store": ("elasticsearch", "sqlite")}
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
    """`[web]`. Port 0 stands for any free port."""

    host: str
    port: int
    metrics_port: int


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


class _Given(msgspec.Struct, frozen=True):
    """A value as written, and where."""

    value: object
    where: str
    from_environment: bool = False


_Section = dict[str, _Given]


def load_settings(path: Path | None, environ: Mapping[str, str], *, secret: bool = True) -> Settings:
    """Reads the file, if there is one, and lays the environment over it.

    Args:
        path: the file; None for defaults and environment alone.
        environ: the environment variables.
        secret: read the service id too; without, a person who may not read it can still ask for everything else.

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
    service_id = _service_id(sections.get("census", {}), census, environ) if secret else None
    return Settings(
        path=path,
        census=CensusSettings(
            service_id=service_id,
            rest_url=census["rest_url"],
            requests_per_minute=census["requests_per_minute"],
        ),
        streams=tuple(_stream(number, given, base) for number, given in enumerate(streams, 1)),
        queue=QueueSettings(**values["queue"]),
        store=StoreSettings(
            kind=values["store"]["kind"],
            path=values["store"]["path"],
            elasticsearch=ElasticsearchSettings(
                urls=(values["store"]["url"],), index_prefix=values["store"]["index_prefix"]
            ),
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
            f" holds it, the variable {PREFIX}CENSUS_SERVICE_ID, or systemd's credential {CREDENTIAL!r}"
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
                f"{name} in {path}: unknown section{_did_you_mean(name, KEYS)}; accepted are {', '.join(KEYS)}"
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
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"can't read the configuration {path}: byte {error.start} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"can't read the configuration {path}: it is not TOML: {error}") from None


def _section(name: str, shown: str, content: Mapping[str, object], path: Path) -> _Section:
    keys = KEYS[name]
    for key in content:
        if key not in keys:
            raise ConfigError(
                f"{shown}.{key} in {path}: unknown key{_did_you_mean(key, keys)}; accepted are {', '.join(keys)}"
            )
    return {key: _Given(value, f"{shown}.{key} in {path}") for key, value in content.items()}


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
                raise ConfigError(f"{variable} in the environment: unknown key{similar}")
            continue
        section, key = found
        given = _Given(environ[variable], f"{variable} in the environment", from_environment=True)
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


def _read(key: Key, given: _Given) -> object:
    try:
        value = key.parse(str(given.value)) if given.from_environment else given.value
        return key.check(value)
    except ValueError as error:
        shown = "the value" if key.hidden(given.value) else _short(given.value)
        reason = f" ({error})" if str(error) else ""
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


def _service_id(section: _Section, values: Mapping[str, Any], environ: Mapping[str, str]) -> Secret | None:
    """From the environment, from systemd, from the file: a unit's credential goes before what a shared file says."""
    text, file = section.get("service_id"), section.get("service_id_file")
    if text is not None and file is not None and text.from_environment == file.from_environment:
        raise ConfigError(f"{text.where}: there is a service_id_file too; give one of the two")
    folder = environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(folder, CREDENTIAL) if folder else None
    for from_environment in (True, False):
        if text is not None and text.from_environment == from_environment:
            return _checked_id(str(values["service_id"]), text.where)
        if file is not None and file.from_environment == from_environment:
            return _id_in(values["service_id_file"], file.where)
        if credential is not None and credential.exists():
            return _id_in(credential, f"systemd's credential {CREDENTIAL!r}")
    return None


def _id_in(path: Path, where: str) -> Secret:
    try:
        with path.open("rb") as file:
            content = file.read(4 * MAX_SERVICE_ID)
    except OSError as error:
        raise ConfigError(
            f"{where}: can't read {path}: {error.strerror}; accepted is a readable file that holds the service id alone"
        ) from None
    return _checked_id(content.decode("ascii", errors="replace"), f"{where}: {path}")


def _checked_id(text: str, where: str) -> Secret:
    value = text.strip().removeprefix("s:")
    if not 0 < len(value) <= MAX_SERVICE_ID or not all(
        "!" <= char <= "~" and char not in "/\\\"'<>&?#%" for char in value
    ):
        raise ConfigError(
            f"{where}: holds no service id; accepted are 1 to {MAX_SERVICE_ID} letters, digits and signs without blanks, as Daybreak"
            " sent it"
        )
    return Secret(value)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    similar = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f", did you mean {similar[0]}?" if similar else ""


def _short(value: object) -> str:
    """A value of any size as something that fits a line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
