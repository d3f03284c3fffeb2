"""Where `store copy` copies to: an address, a file, or what another configuration says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from ps2daemon.config import ElasticsearchSettings, StoreSettings, load_settings
from ps2daemon.errors import UsageError
from ps2daemon.settings_keys import KEYS

SUFFIXES: Final = (".db", ".sqlite", ".sqlite3")
"""Of a file that may not be there yet: a server's address without its scheme would be a file's name, too."""
ACCEPTED: Final = f"accepted is the path of a file that ends in {', '.join(SUFFIXES)}, or an address that begins with http:// or https://"


def parse_target(to: str | None, prefix: str | None, config: Path | None) -> StoreSettings:
    """The settings of the store to copy to: `to` is a file or an address, or `config` says it.

    Args:
        prefix: of the indices, where `to` is an address; None for the configuration's default.

    Raises:
        UsageError: not exactly one is given, or what is given is not accepted.
    """
    if (to is None) == (config is None):
        raise UsageError("say where to copy to: give --to or --to-config, and only one of them")
    if prefix is not None and (to is None or not _is_address(to)):
        raise UsageError(
            "--to-prefix goes with an address after --to; a file has no prefix, and a configuration its own"
        )
    if config is not None:
        # The environment says what the store to copy from is; it would make both the same.
        return load_settings(config, {}, secret=False).store
    assert to is not None
    if _is_address(to):
        url: tuple[str, ...] = _checked("--to", "url", [to])
        chosen: str = _checked(
            "--to-prefix", "index_prefix", KEYS["store"]["index_prefix"].default if prefix is None else prefix
        )
        return StoreSettings(
            kind="elasticsearch",
            path=Path(),
            elasticsearch=ElasticsearchSettings(urls=url, index_prefix=chosen),
        )
    path = Path(to).expanduser().absolute()
    if path.is_dir():
        raise UsageError(f"--to: {to} is a folder: name a file in it, such as {path / 'ps2.db'}")
    if path.suffix not in SUFFIXES and not path.is_file():
        raise UsageError(f"--to: {to!r} is not accepted; {ACCEPTED}")
    return StoreSettings(kind="sqlite", path=path, elasticsearch=ElasticsearchSettings(urls=()))


def _is_address(text: str) -> bool:
    return re.match(r"https?://", text, re.IGNORECASE) is not None


def _checked(option: str, name: str, value: object) -> Any:
    key = KEYS["store"][name]
    try:
        return key.check(value)
    except ValueError as error:
        shown = "the value" if key.hidden(value) else repr(value[0] if isinstance(value, list) else value)
        reason = f" ({error})" if str(error) else ""
        advice = "; where a password is needed, use --to-config" if key.hidden(value) else ""
        raise UsageError(
            f"{option}: {shown} is not accepted{reason}; accepted is {key.accepted}{advice}"
        ) from None


def same_place(one: StoreSettings, other: StoreSettings) -> bool:
    """Whether both say the same store, as far as can be told without asking it."""
    if one.kind != other.kind:
        return False
    if one.kind == "sqlite":
        return one.path.resolve() == other.path.resolve()
    ours, theirs = one.elasticsearch, other.elasticsearch
    shared = {url.rstrip("/") for url in ours.urls} & {url.rstrip("/") for url in theirs.urls}
    return ours.index_prefix == theirs.index_prefix and bool(shared)


def configuration_of(settings: StoreSettings) -> list[str]:
    """The lines of `[store]` that make it the store."""
    if settings.kind == "sqlite":
        return ["[store]", 'kind = "sqlite"', f'path = "{settings.path}"']
    server = settings.elasticsearch
    return [
        "[store]",
        'kind = "elasticsearch"',
        f'url = "{server.urls[0]}"',
        f'index_prefix = "{server.index_prefix}"',
    ]
