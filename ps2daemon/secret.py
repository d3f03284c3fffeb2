"""Secrets, which must never be shown: not in a log, a metric, an error or a URL that is printed."""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import quote

HIDDEN: Final = "***"
_PREFIX: Final = "s:"


class Secret:
    """A string that hides itself wherever it is printed; `reveal` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The string itself; never put it, or what contains it, into an exception or a log."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({HIDDEN!r})"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be stored")


def service_name(service_id: Secret) -> str:
    """The service id as a part of a URL: quoted, with its prefix `s:`, whether or not it was given with it. Not to be shown."""
    return _PREFIX + quote(service_id.reveal().strip().removeprefix(_PREFIX), safe="")


def redact(text: str, secret: Secret) -> str:
    """`text` without the secret, as it is or as a part of a URL, and with or without the prefix of a service id."""
    value = secret.reveal().strip()
    bare = value.removeprefix(_PREFIX)
    # The longest first: hiding a part would keep the rest.
    for shown in sorted({value, bare, quote(value, safe=""), quote(bare, safe="")}, key=len, reverse=True):
        if shown:
            text = text.replace(shown, HIDDEN)
    return text


def hush(*loggers: str) -> None:
    """Makes these loggers of foreign libraries say nothing below a warning, whatever level they are given later.

    They write the URLs and headers that they handle, and with them what is secret.
    """
    for name in loggers:
        logger = logging.getLogger(name)
        if _warns not in logger.filters:
            logger.addFilter(_warns)


def _warns(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
