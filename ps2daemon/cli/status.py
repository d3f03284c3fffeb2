"""`ps2daemon status`: is it recording, what waits, what is stored."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec
import trio

from ps2daemon.cli import epilog, settings_of
from ps2daemon.config import Settings
from ps2daemon.errors import StoreError
from ps2daemon.model import tables
from ps2daemon.model.coverage import coverage_by_world
from ps2daemon.model.times import iso
from ps2daemon.probe import STAGES, damage_facts, ports_of, queue_of, stages_of
from ps2daemon.queue.rescue import damages
from ps2daemon.store.base import StoreReader


@click.command(epilog=epilog("ps2daemon status", "ps2daemon status --json | jq .daemon"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Say whether it records, what waits in the queue and what the store holds.

    Ends with 0 if every stage runs and does what it is for, and queue and store are there; and with 1 otherwise. Disturbs
    nobody.
    """
    settings = settings_of(ctx)
    damaged = damages(settings.queue.directory)
    facts: dict[str, Any] = {
        "daemon": stages_of(settings.web),
        "queue": queue_of(settings.queue.directory),
        "store": trio.run(_store, settings),
    }
    missing = [stage for stage in STAGES if stage not in facts["daemon"]]
    ready = (
        not missing
        and all(stage["ready"] for stage in facts["daemon"].values())
        and "error" not in facts["queue"]
        and "error" not in facts["store"]
    )
    if as_json:
        click.echo(msgspec.json.encode(facts | {"damaged_queues": damage_facts(damaged), "ready": ready}))
    else:
        _print(facts, ports_of(settings.web))
        for damage in damaged:
            click.echo(f"damaged     the queue, at {iso(damage.at)}: {damage}")
    sys.exit(0 if ready else 1)


async def _store(settings: Settings) -> dict[str, Any]:
    from ps2daemon.daemon import open_reader

    try:
        store = await open_reader(settings.store)
    except StoreError as error:
        return {"error": str(error)}
    try:
        return await _stored(store)
    except StoreError as error:  # a server may go away at any time
        return {"error": str(error)}
    finally:
        await store.aclose()


async def _stored(store: StoreReader) -> dict[str, Any]:
    until = await store.records_until()
    coverage = coverage_by_world(await store.spans())
    return {
        "records_until": None if until is None else iso(until),
        "counts": await store.counts(),
        "covered_until": {
            str(world_id): iso(world.end)
            for world_id, world in sorted(coverage.items())
            if world.end is not None
        },
    }


def _print(facts: dict[str, Any], ports: tuple[int, int]) -> None:
    for name in STAGES:
        stage = facts["daemon"].get(name)
        if stage is None:
            click.echo(f"{name:<12}not running: nothing answers for it on port {ports[0]} or {ports[1]}")
            continue
        why = f": {stage['why']}" if stage.get("why") else ""
        click.echo(f"{name:<12}{stage['state']}{why}")
    queue, store = facts["queue"], facts["store"]
    if "error" in queue:
        click.echo(f"queue       {queue['error']}")
    else:
        click.echo(f"queue       {queue['records']:,} records wait, {queue['bytes']:,} bytes")
    if "error" in store:
        click.echo(f"store       {store['error']}")
        return
    counts = ", ".join(f"{number:,} {name}" for name, number in store["counts"].items())
    click.echo(f"store       {counts}")
    for world_id, until in store["covered_until"].items():
        click.echo(f"recorded    {tables.world_name(int(world_id))} until {until}")
