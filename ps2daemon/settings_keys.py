"""The keys of the configuration: what each accepts, what it is without being given, and how a variable's text is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

MAX_PORT: Final = 65_535
MAX_SECONDS: Final = 3_600.0
MAX_CONNECTIONS: Final = 16
MAX_WORLDS: Final = 64
MAX_REPLICAS: Final = 10
MAX_URL: Final = 2_000
MAX_HOST: Final = 253
"""Characters of a name in DNS (RFC 1035, 2.3.4)."""
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Given:
    """A value as written, and where."""

    value: object
    where: str
    from_environment: bool = False


def _never(value: object) -> bool:
    return False


def _always(value: object) -> bool:
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key.

    Attributes:
        accepted: for a person, after "accepted is".
        default: the value where none is given.
        check: the value of a TOML value; ValueError, with or without a reason, if it is not accepted.
        parse: the TOML value that a variable's text stands for; ValueError if none.
        hidden: whether a value must not be shown.
    """

    accepted: str
    default: object
    check: Callable[[object], object]
    parse: Callable[[str], object] = str
    hidden: Callable[[object], bool] = _never


def _text(
    default: str | None,
    accepted: str,
    *,
    pattern: str = r"[^\x00-\x1f]+",
    hidden: Callable[[object], bool] = _never,
) -> Key:
    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError
        return value

    return Key(accepted=accepted, default=default, check=check, hidden=hidden)


def _choice(default: str, *others: str) -> Key:
    return _text(
        default,
        " or ".join(repr(choice) for choice in (default, *others)),
        pattern="|".join((default, *others)),
    )


def _path(default: str | None, accepted: str) -> Key:
    text = _text(default, accepted)

    def check(value: object) -> Path:
        path = Path(str(text.check(value)))
        try:
            return path.expanduser()
        except RuntimeError:
            raise ValueError("there is no user of this name") from None

    return Key(accepted=accepted, default=default and Path(default), check=check)


def _is_integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _parse_integer(text: str) -> int:
    # int() takes more than a person means: blanks, signs, digits of any alphabet.
    if not re.fullmatch(r"[0-9]+(_[0-9]+)*", text.strip(), re.ASCII):
        raise ValueError
    return int(text)


def _integer(default: int, low: int, high: int, what: str = "a whole number") -> Key:
    def check(value: object) -> object:
        if not _is_integer(value, low, high):
            raise ValueError
        return value

    return Key(accepted=f"{what} from {low} to {high}", default=default, check=check, parse=_parse_integer)


def _seconds(default: float) -> Key:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        if not 0 < value <= MAX_SECONDS:
            raise ValueError
        return float(value)

    return Key(
        accepted=f"a number of seconds above 0 and up to {MAX_SECONDS:g}",
        default=default,
        check=check,
        parse=float,
    )


def _is_host(parts: SplitResult) -> bool:
    """Whether an address names a host that can be looked up: a name of DNS, or an address of IPv4 or IPv6."""
    host = parts.hostname or ""
    if "[" in parts.netloc:
        if not re.fullmatch(r"([^@]*@)?\[[0-9A-Fa-f:.]+\](:[0-9]*)?", parts.netloc):
            return False
        IPv6Address(host)  # a ValueError where it is none
        return True
    labels = host.removesuffix(".").split(".")
    if labels[-1].isdigit():
        IPv4Address(host)  # as well
    for label in labels:
        if label.startswith("xn--"):
            label.encode().decode("idna")  # as well
    return len(host) <= MAX_HOST and all(re.fullmatch(r"[A-Za-z0-9_-]{1,63}", label) for label in labels)


def _url(default: str, *schemes: str) -> Key:
    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(rf"[!-~]{{1,{MAX_URL}}}", value):
            raise ValueError
        parts = urlsplit(value)
        if parts.scheme not in schemes or not _is_host(parts) or parts.fragment:
            raise ValueError
        _ = parts.port  # raises ValueError where it is none
        if parts.username is not None or parts.password is not None or "service-id" in parts.query:
            raise ValueError("a secret does not belong into it")
        return parts.scheme + value[len(parts.scheme) :]  # in lower case

    starts = " or ".join(f"{scheme}://" for scheme in schemes)
    return Key(
        accepted=f"an address that begins with {starts}, such as {default}",
        default=default,
        check=check,
        hidden=lambda value: not isinstance(value, str) or "@" in value or "?" in value,
    )


def _urls(default: str, *schemes: str) -> Key:
    """One address, or a list of them."""
    single = _url(default, *schemes)

    def check(value: object) -> tuple[str, ...]:
        urls = tuple(str(single.check(url)) for url in (value if isinstance(value, list) else [value]))
        if not urls:
            raise ValueError
        if any("?" in url for url in urls):
            raise ValueError("a query does not belong into it")
        if len(set(urls)) < len(urls):
            raise ValueError("an address is in it twice")
        return urls

    return Key(
        accepted=f"{single.accepted}, or a list of such addresses of one cluster",
        default=(default,),
        check=check,
        parse=_parse_list,
        hidden=lambda value: any(map(single.hidden, value if isinstance(value, list) else [value])),
    )


def _parse_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _world_ids() -> Key:
    def check(value: object) -> tuple[int, ...]:
        if not isinstance(value, list) or not 0 < len(value) <= MAX_WORLDS:
            raise ValueError
        if not all(_is_integer(world, 0, 2**31) for world in value):
            raise ValueError
        if len(set(value)) < len(value):
            raise ValueError("a world is in it twice")
        return tuple(value)

    return Key(
        accepted=f"a list of 1 to {MAX_WORLDS} world ids such as [1, 10, 40]",
        default=(),
        check=check,
        parse=lambda text: [_parse_integer(part) for part in text.split(",")],
    )


def _addresses(default: str) -> Key:
    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError
        for address in value:
            match = re.fullmatch(r"[^\s:,]+:([0-9]{1,5})", address) if isinstance(address, str) else None
            if match is None or not 0 < int(match[1]) <= MAX_PORT:
                raise ValueError
        return tuple(value)

    return Key(
        accepted=f'a list of "host:port" such as ["{default}"]',
        default=(default,),
        check=check,
        parse=_parse_list,
    )


def _port(default: int) -> Key:
    return _integer(default, 0, MAX_PORT, "a port")


KEYS: Final[Mapping[str, Mapping[str, Key]]] = {
    "census": {
        "service_id": _text(None, "a service id as Daybreak sent it", hidden=_always),
        "service_id_file": _path(None, "the path of a file that holds the service id"),
        "rest_url": _url("https://census.daybreakgames.com", "http", "https"),
        # A token bucket holds at least one token at once and one to come.
        "requests_per_minute": _integer(100, 2, 100_000),
    },
    "stream": {
        "url": _url("wss://push.planetside2.com/streaming", "ws", "wss"),
        "environment": _choice("ps2", "ps2ps4us", "ps2ps4eu", "all"),
        "worlds": _world_ids(),
        "connections": _integer(1, 1, MAX_CONNECTIONS),
        "verify_seconds": _seconds(60.0),
        "reconnect_seconds": _seconds(1.0),
    },
    "queue": {
        "kind": _choice("sqlite", "kafka"),
        "directory": _path("state/queue", "the path of a folder"),
        "max_bytes": _integer(1024 * MIB, MIB, 2**50, "a number of bytes"),
        "retain": _integer(0, 0, 1_000_000, "a number of frames"),
        "brokers": _addresses("127.0.0.1:9092"),
        "topic": _text("ps2-records", "a topic's name", pattern=r"[A-Za-z0-9._-]{1,249}"),
    },
    "store": {
        "kind": _choice("sqlite", "elasticsearch"),
        "path": _path("state/ps2.db", "the path of a file"),
        "url": _urls("http://127.0.0.1:9200", "http", "https"),
        "index_prefix": _text("ps2", "lower-case letters, digits, - and _", pattern=r"[a-z][a-z0-9_-]{0,63}"),
        # Basic authentication ends the name at the first colon (RFC 7617); who writes one gave the password with it.
        "username": _text(
            None,
            "a user's name alone, without a colon",
            pattern=r"[^\x00-\x1f\x7f:]{1,512}",
            hidden=lambda value: ":" in str(value),
        ),
        "password": _text(None, "the password of that user", hidden=_always),
        "password_file": _path(None, "the path of a file that holds the password"),
        "api_key": _text(None, "an API key as the server encoded it", hidden=_always),
        "api_key_file": _path(None, "the path of a file that holds the API key"),
        "ca_file": _path(None, "the path of a file of certificates in PEM"),
        "replicas": _integer(0, 0, MAX_REPLICAS, "a number of copies"),
        "timeout_seconds": _seconds(30.0),
    },
    "web": {
        "host": _text("127.0.0.1", "a host's name or address", pattern=r"[A-Za-z0-9.:_-]+"),
        "port": _port(8020),
        "metrics_port": _port(8021),
        "cache_directory": _path("state/cache", "the path of a folder"),
    },
}  # fmt: skip
"""By section and name, in the order of the example file."""
