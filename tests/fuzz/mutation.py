"""Inputs made from right ones by changing their bytes; each can be made again from its number."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

LONGEST: Final = 128 * 1024
"""Bytes of an input: twice the largest payload, so that limits are passed."""
TOKENS: Final = (
    b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x7f", b"\r\n", b"\n", b"\\", b'"', b"'", b"\\ud800", b"\\u0000", b"{", b"}", b"[", b"]",
    b",", b":", b"=", b"&", b"?", b"#", b"%", b"%00", b"%ff", b"../", b"null", b"true", b"{}", b"[]", b'""', b"1e999", b"NaN", b"-1", b"0", b"0x10",
    b"9223372036854775807", b"18446744073709551616", b"253402300799", b"253402300800", b"4294967295", b"4294967296", b"9" * 400, b"9" * 5_000, b"1.5",
    b"9999-12-31T23:59:59.999Z", b"0001-01-01", b"all", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"[" * 2_000,
    b'{"a":' * 2_000, b"\xdf\xff\xff\xff\xff", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
)  # fmt: skip
"""What parsers stumble over: broken UTF-8, ends of ranges, nesting, MessagePack's own lengths and integers."""
_NUMBER: Final = re.compile(rb"[0-9]+")


def mutated(seeds: Sequence[bytes], run: int, number: int) -> bytes:
    """Input `number` of a run: one of the seeds, with one to six changes."""
    random = Random(f"{run}/{number}")
    data: bytes = random.choice(seeds)
    for _ in range(min(6, 1 + int(random.expovariate(0.7)))):
        change = random.choice(CHANGES)
        data = change(random, data, seeds)[:LONGEST]
    return data


def _place(random: Random, data: bytes) -> tuple[int, int]:
    """A part of `data`, mostly a short one."""
    start = random.randint(0, len(data))
    return start, min(len(data), start + int(random.expovariate(1 / 12)))


def _flip(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    start, _ = _place(random, data)
    return data[:start] + bytes(byte ^ 1 << random.randrange(8) for byte in data[start : start + 1]) + data[start + 1 :]  # fmt: skip


def _cut(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    start, end = _place(random, data)
    return data[:start] if random.random() < 0.2 else data[:start] + data[end:]


def _splice(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = random.choice(seeds)
    start, end = _place(random, data)
    begin, finish = _place(random, other)
    return data[:start] + (other[begin:] if random.random() < 0.3 else other[begin:finish]) + data[end:]


def _repeat(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    start, end = _place(random, data)
    part = data[start:end]
    times = min(1 << random.randint(0, 12), LONGEST // max(1, len(part)))
    return data[:start] + part * times + data[start:]


def _insert(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    start, end = _place(random, data)
    return data[:start] + random.choice(TOKENS) + data[end if random.random() < 0.5 else start :]


def _number(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Another number, or something else, where one stands."""
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    start, end = random.choice(found).span()
    return data[:start] + random.choice(TOKENS) + data[end:]


CHANGES: Final[tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...]] = (
    _flip, _cut, _splice, _repeat, _insert, _number,
)  # fmt: skip
