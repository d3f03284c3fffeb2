"""`ps2daemon queue dead-letters`: what could not be applied: look at it, put it back into the queue, drop it."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from typing import Any, Final, TypeVar, cast

import click
import msgspec

from ps2daemon.cli import epilog, settings_of
from ps2daemon.config import Settings
from ps2daemon.errors import RecordError, UsageError
from ps2daemon.model import tables
from ps2daemon.model.events import glance
from ps2daemon.model.recording import format_line, parse_line
from ps2daemon.model.records import EventRecord, Record
from ps2daemon.model.times import clock_text, iso
from ps2daemon.queue.base import DeadLetter
from ps2daemon.queue.frames import decode_frame
from ps2daemon.queue.letters import Chosen, by_number, choose, latest
from ps2daemon.queue.letters import drop as drop_letters
from ps2daemon.queue.requeue import Requeued
from ps2daemon.queue.requeue import requeue as requeue_letters

Command = TypeVar("Command", bound=Callable[..., Any])

WIDTH: Final = 80
REASONS: Final = 10
"""So many reasons are told of by themselves, and so many numbers named in a question."""
EVENT_WIDTH: Final = 15
WORLD_WIDTH: Final = 11
HEX_BYTES: Final = 1024
"""So much is shown of what can't be read."""
_HEAD: Final = ("number", "UTC", "event", "world", "reason")

_number = click.IntRange(1, 2**63 - 1)  # what SQLite numbers its rows with
_reason_option = click.option(
    "--reason", metavar="TEXT", help="Those whose reason contains TEXT, letter for letter."
)


def _selection(command: Command) -> Command:
    """Numbers, `--all` or `--reason`, as one argument `choice`."""

    def chosen(
        ctx: click.Context, numbers: tuple[int, ...], every: bool, reason: str | None, **others: Any
    ) -> Any:
        if sum((bool(numbers), every, reason is not None)) != 1:
            raise UsageError("say which: give numbers as `list` shows them, or --reason TEXT, or --all")
        _check_reason(reason)
        settings = settings_of(ctx)
        found = choose(settings.queue.directory, numbers or None, reason)
        if not found:
            matching = "" if reason is None else f" whose reason contains {_visible(reason)!r}"
            click.echo(f"There is no dead letter{matching}: nothing was done.", err=True)
            return None
        return ctx.invoke(command, settings, found, **others)

    chosen.__name__, chosen.__doc__ = command.__name__, command.__doc__
    wrapped: Any = click.pass_context(chosen)
    for decorate in (
        _reason_option,
        click.option("--all", "every", is_flag=True, help="All of them."),
        click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=_number),
    ):
        wrapped = decorate(wrapped)
    return cast(Command, wrapped)


@click.group(
    "dead-letters",
    epilog=epilog(
        "ps2daemon queue dead-letters list",
        "ps2daemon queue dead-letters show 12",
        "ps2daemon queue dead-letters requeue --all",
        "ps2daemon queue dead-letters drop --reason 'no JSON'",
    ),
)
def dead_letters() -> None:
    """What could not be applied: look at it, put it back, drop it. The daemon may run meanwhile."""


@dead_letters.command(
    "list",
    epilog=epilog(
        "ps2daemon queue dead-letters list --limit 100",
        "ps2daemon queue dead-letters list --json | jq .reasons",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many.")
@_reason_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool, limit: int, reason: str | None) -> None:
    """List the dead letters, the newest first, and say how many there are by reason."""
    _check_reason(reason)
    found = latest(settings_of(ctx).queue.directory, min(limit, 2**31), reason)
    if as_json:
        facts = {
            "count": found.total,
            "reasons": [{"reason": text, "count": number} for text, number in found.reasons],
            "dead_letters": [_facts(letter) for letter in found.letters],
        }
        click.echo(msgspec.json.encode(facts))
        return
    if not found.total:
        click.echo(
            "There are no dead letters." if reason is None else "There are no such dead letters.", err=True
        )
        return
    _tell_reasons(found.reasons, found.total)
    for line in _table(found.letters):
        click.echo(line)
    if more := found.total - len(found.letters):
        click.echo(f"{more:,} more: --limit {found.total} shows them all.", err=True)


@dead_letters.command(
    epilog=epilog(
        "ps2daemon queue dead-letters show 12 13",
        "ps2daemon queue dead-letters show 12 --json | jq -r '.dead_letters[].lines[]' > mended.ndjson",
    )
)
@click.argument("numbers", metavar="NUMBER...", nargs=-1, required=True, type=_number)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def show(ctx: click.Context, numbers: tuple[int, ...], as_json: bool) -> None:
    """Say all about dead letters, with their records as lines of a recording.

    `queue import` reads such lines. What can't be one is shown as the hexadecimal digits of its first bytes.
    """
    letters = by_number(settings_of(ctx).queue.directory, numbers)
    if as_json:
        whole = [{**_facts(letter), **_content(letter)} for letter in letters]
        click.echo(msgspec.json.encode({"dead_letters": whole}))
        return
    for place, letter in enumerate(letters):
        content = _content(letter)
        click.echo("\n" * (place > 0) + f"number    {letter.id}")
        click.echo(f"at        {iso(letter.at)}")
        click.echo(f"reason    {_visible(letter.reason)}")
        click.echo(f"attempts  {letter.attempts}")
        click.echo(f"bytes     {len(letter.frame):,}")
        for line in content["lines"]:
            # JSON lets these controls stand in a string, and some terminals obey them.
            click.echo(re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", line))
        for digits in content["hex"]:
            click.echo(f"hex       {digits}")


@dead_letters.command(
    epilog=epilog(
        "ps2daemon queue dead-letters requeue 12 13",
        "ps2daemon queue dead-letters requeue --reason 'the store refuses'",
    )
)
@_selection
def requeue(settings: Settings, chosen: Sequence[Chosen]) -> None:
    """Put dead letters back at the end of the queue, for the worker to try again.

    For after the cause is gone, such as by an upgrade. What is refused again is among the dead letters again. Subscriber and worker
    may run meanwhile; it can be interrupted at any time, and called again.
    """
    from ps2daemon.stages.writer import TOO_OLD

    if old := sum(letter.reason == TOO_OLD for letter in chosen):
        click.echo(
            f"{old:,} of {len(chosen):,} came too late for what is stored: the worker refuses them again, and they come straight back.",
            err=True,
        )
    total = Requeued()

    def told(outcome: Requeued) -> None:
        nonlocal total
        total = total.plus(outcome)

    try:
        requeue_letters(settings.queue.directory, chosen, told)
    finally:  # whatever breaks it off, this much is done
        if total != Requeued():
            click.echo(
                f"Back in the queue: {total.letters:,} of {len(chosen):,} dead letters (records: {total.records:,}).",
                err=True,
            )
    if total.gone:
        click.echo(f"{total.gone:,} were taken away by somebody else meanwhile.", err=True)
    if total.unreadable:
        click.echo(
            f"{total.unreadable:,} stay, since this ps2daemon can't read them: `show` says what they are, `drop` drops them.",
            err=True,
        )
        sys.exit(1)


@dead_letters.command(
    epilog=epilog(
        "ps2daemon queue dead-letters drop 12 13",
        "ps2daemon queue dead-letters drop --all --yes    # from a script",
    )
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@_selection
def drop(settings: Settings, chosen: Sequence[Chosen], yes: bool) -> None:
    """Drop dead letters. It says what goes and asks first; there is no way back."""
    if not (yes or sys.stdin.isatty()):
        raise UsageError("there is no terminal to ask on: give --yes to drop them")
    _tell_reasons(Counter(letter.reason for letter in chosen).most_common(), len(chosen))
    if len(chosen) <= REASONS:
        click.echo(f"Numbers: {', '.join(str(letter.id) for letter in chosen)}.", err=True)
    if not yes and not click.confirm("There is no way back. Drop them?", err=True):
        click.echo("Nothing was dropped.", err=True)
        sys.exit(1)
    dropped = drop_letters(settings.queue.directory, chosen)
    gone = len(chosen) - dropped
    click.echo(f"Dropped: {dropped:,}." + (f" {gone:,} were gone already." if gone else ""), err=True)


def _check_reason(reason: str | None) -> None:
    if reason == "":
        raise UsageError("--reason is empty, and every reason contains that: give a part of the reason")


def _tell_reasons(reasons: Sequence[tuple[str, int]], total: int) -> None:
    click.echo(f"{total:,} dead {'letter' if total == 1 else 'letters'}, by reason:", err=True)
    for reason, number in reasons[:REASONS]:
        click.echo(_cut(f"{number:>7,}  {_visible(reason)}", WIDTH), err=True)
    if rest := reasons[REASONS:]:
        click.echo(f"{sum(number for _, number in rest):>7,}  for {len(rest):,} other reasons", err=True)


def _facts(letter: DeadLetter) -> dict[str, Any]:
    """A letter in JSON, without its records. `kind`, `event` and `world_id` are of its first record, as far as it can be read."""
    records = _records(letter)
    kind, event, world_id = _about(records)
    return {
        "number": letter.id,
        "at": iso(letter.at),
        "kind": kind,
        "event": event,
        "world_id": world_id,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "records": len(records),
        "bytes": len(letter.frame),
    }


def _records(letter: DeadLetter) -> tuple[Record, ...]:
    """None at all if its bytes are no frame."""
    try:
        return decode_frame(letter.frame)
    except RecordError:
        return ()


def _about(records: Sequence[Record]) -> tuple[str | None, str | None, int | None]:
    """Kind, event's name and world of the first record, as it says itself."""
    if not records:
        return None, None, None
    first = records[0]
    if not isinstance(first, EventRecord):
        return "coverage", None, first.world_id
    said = glance(first.payload)
    if said is None:
        return "event", None, None
    return "event", said.event_name or None, said.world


def _content(letter: DeadLetter) -> dict[str, list[str]]:
    """Its records as lines of a recording, and in digits what can't be one."""
    lines: list[str] = []
    digits: list[str] = []
    records = _records(letter)
    for record in records:
        line = format_line(record)
        try:
            parse_line(line, 1)
        except RecordError:
            digits.append(_hex(record.payload if isinstance(record, EventRecord) else line))
        else:
            lines.append(line.decode().rstrip("\n"))
    return {"lines": lines, "hex": digits if records else [_hex(letter.frame)]}


def _hex(content: bytes) -> str:
    more = len(content) - HEX_BYTES
    return content[:HEX_BYTES].hex() + (f"... and {more:,} bytes more" if more > 0 else "")


def _table(letters: Sequence[DeadLetter]) -> Iterator[str]:
    rows = [_HEAD]
    for letter in letters:
        records = _records(letter)
        kind, event, world_id = _about(records)
        name = event or kind or "unreadable"
        if len(records) > 1:
            name = f"{len(records)} records"
        world = "-" if world_id is None else tables.world_name(world_id)
        rows.append((
            str(letter.id), clock_text(letter.at, UTC), _cut(_visible(name), EVENT_WIDTH), _cut(world, WORLD_WIDTH),
            _visible(letter.reason),
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, at, name, world, reason in rows:
        line = (
            f"{number:>{widths[0]}}  {at:<{widths[1]}}  {name:<{widths[2]}}  {world:<{widths[3]}}  {reason}"
        )
        yield _cut(line, WIDTH)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _visible(text: str) -> str:
    """Control characters as escapes: a reason may quote what others sent."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
