"""Log lines: readable with colours on a terminal, JSON lines under systemd and wherever no person looks; always to stderr.

`get_logger` gives a structlog logger on top of the standard library's, so that this program's lines and those of the libraries it uses go the
same way. The last thing that happens to a line, whoever wrote it and whatever traceback it has, is that secrets are taken out.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ps2daemon.secret import Secret, redact

SELDOM_SECONDS: Final = 60.0
MAX_REMEMBERED: Final = 256

_QUIET: Final = {
    # One line a request, and at DEBUG whole URLs.
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "hypercorn.access": logging.WARNING,
    "hypercorn.error": logging.WARNING,
    "trio-websocket": logging.WARNING,
    "elastic_transport": logging.ERROR,
}
"""The least level of libraries that tell more than this program's own lines say already."""

_SHARED: Final[tuple[Processor, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines have key-value pairs. Until `configure_logging`, warnings go to stderr as they come."""
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return cast(structlog.stdlib.BoundLogger, logger)


def configure_logging(
    *,
    secrets: Iterable[Secret] = (),
    level: str = "INFO",
    stream: TextIO | None = None,
    json: bool | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Sets up all logging of the process; may be called again.

    Args:
        secrets: never to be seen in a line.
        level: of this program's lines, for example DEBUG.
        stream: where lines go; stderr if None.
        json: JSON lines or not; None for JSON under systemd and where `stream` is no terminal.
    """
    out = sys.stderr if stream is None else stream
    if json is None:
        json = "JOURNAL_STREAM" in environ or not out.isatty()
    handler = logging.StreamHandler(out)
    handler.setFormatter(_Formatter(tuple(secrets), as_json=json, colours=out.isatty()))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each.formatter, _Formatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, logging.getLogger(name).level))


class Seldom:
    """Says whether a line is due again: the first time for each key, then once in `SELDOM_SECONDS`."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._told: dict[Hashable, float] = {}

    def __call__(self, *key: Hashable) -> bool:
        now = self._monotonic()
        told = self._told.get(key)
        if told is not None and now - told < SELDOM_SECONDS:
            return False
        self._told.pop(key, None)
        if len(self._told) >= MAX_REMEMBERED:
            del self._told[next(iter(self._told))]  # the one that was told the longest time ago
        self._told[key] = now
        return True

    def forget(self, *key: Hashable) -> None:
        """The next time is a first one."""
        self._told.pop(key, None)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Makes a line of text out of a record, then takes the secrets out of it."""

    def __init__(self, secrets: tuple[Secret, ...], *, as_json: bool, colours: bool) -> None:
        rendering: list[Processor]
        if as_json:
            rendering = [
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(sort_keys=True, default=str),
            ]
        else:
            # A plain traceback: pretty ones print the local variables, whatever they hold.
            rendering = [
                structlog.dev.ConsoleRenderer(
                    colors=colours, exception_formatter=structlog.dev.plain_traceback
                )
            ]
        super().__init__(
            foreign_pre_chain=[*_SHARED, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _one_line, *rendering],
        )
        self._secrets = tuple(each for secret in secrets for each in (secret, _escaped(secret)))

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in self._secrets:
            text = redact(text, secret)
        return text


def _escaped(secret: Secret) -> Secret:
    """As it looks inside of a JSON string."""
    return Secret(json.dumps(secret.reveal())[1:-1])


def _one_line(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Control characters as escapes: what others wrote must not look like lines of this program, or move a cursor."""
    return {key: _visible(value) if isinstance(value, str) else value for key, value in event.items()}


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
