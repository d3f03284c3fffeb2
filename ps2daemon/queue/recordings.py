"""Recordings as files and pipes: NDJSON, plain or gzip, read in bounded memory.

Whether it is gzip is told by its first byte and never by the name, so that a pipe may carry either. Lines that are
empty are accepted at the end only; in between, one means that something was lost, and is refused with its number.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from ps2daemon.errors import RecordingError, UsageError
from ps2daemon.model.recording import MAX_LINE_BYTES, parse_line
from ps2daemon.model.records import Record

_GZIP_MAGIC: Final = b"\x1f"
_BUFFER_BYTES: Final = 256 * 1024


def read_recording(source: Path | BinaryIO) -> Iterator[Record]:
    """The records of a recording, in its order.

    Args:
        source: a file's path, or an open binary stream, which is read to its end and not closed.

    Raises:
        RecordingError: a line, counted from 1, is malformed or too large, or the gzip stream is broken there.
        UsageError: the file can't be opened or read.
    """
    number = 0
    try:
        with _opened(source) as stream:
            empty: int | None = None
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if line.isspace() and len(line) <= MAX_LINE_BYTES:
                    empty = empty or number
                    continue
                if empty is not None:
                    raise RecordingError(empty, "it is empty, and more lines follow")
                yield parse_line(line, number)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise RecordingError(number + 1, f"the gzip stream is broken here: {error}") from None
    except OSError as error:
        name = source if isinstance(source, Path) else "the recording"
        raise UsageError(f"can't read {name}: {error.strerror or error}") from None


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(source, Path):
        with source.open("rb", buffering=_BUFFER_BYTES) as file:
            yield _decompressed(cast("io.BufferedReader[Any]", file))  # `BinaryIO` has no `peek`
    elif isinstance(source, io.BufferedReader):
        yield _decompressed(source)
    else:
        reader = _buffered(source)
        try:
            yield _decompressed(reader)
        finally:
            reader.detach()  # or it would close a stream that is not ours


def _decompressed(file: io.BufferedReader[Any]) -> BinaryIO:
    if file.peek(1)[:1] != _GZIP_MAGIC:  # a pipe may give one byte at first, and no JSON begins with it
        return file
    return _buffered(gzip.GzipFile(fileobj=file))  # gzip's own readline is Python, line by line


def _buffered(stream: BinaryIO | gzip.GzipFile) -> io.BufferedReader:
    return io.BufferedReader(cast("io.RawIOBase", stream), _BUFFER_BYTES)
