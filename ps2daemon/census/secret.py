"""The service id, which must never be shown: not in a log, a metric, an error or a URL that is printed."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

HIDDEN: Final = "***"


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


def redact(text: str, secret: Secret) -> str:
    """`text` without the secret, as it is or as a part of a URL."""
    value = secret.reveal()
    for shown in {value, quote(value, safe="")}:
        if shown:
            text = text.replace(shown, HIDDEN)
    return text
