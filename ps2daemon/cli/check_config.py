"""`ps2daemon check-config`: whether the configuration is right, and what it comes to."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from ps2daemon.cli import epilog, settings_of
from ps2daemon.config import Settings, service_id_for
from ps2daemon.errors import ConfigError
from ps2daemon.model.tables import world_name


@click.command(
    "check-config",
    epilog=epilog(
        "ps2daemon --config config.toml check-config",
        "ps2daemon --config config.toml check-config --json | jq .queue.directory",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check_config(ctx: click.Context, as_json: bool) -> None:
    """Say whether the configuration is right, and what it comes to.

    Defaults and the environment are laid over the file, as every command does. Secrets are read, and never shown. Opens
    neither queue nor store and connects to nothing.
    """
    settings = settings_of(ctx, secret=True)
    facts = _facts(settings)
    if as_json:
        click.echo(msgspec.json.encode(facts))
    else:
        for line in _lines(facts):
            click.echo(line)
    for stream in settings.streams:
        try:
            service_id_for(settings, stream.url)
        except ConfigError as error:
            click.echo(f"ps2daemon: warning: `run` will refuse this: {error}", err=True)
            break


def _facts(settings: Settings) -> dict[str, Any]:
    """The settings as in the file, but for the secrets, of which it says whether they are given; and without the keys of kinds that are not used."""
    facts: dict[str, Any] = msgspec.to_builtins(settings, enc_hook=str)
    facts["census"]["service_id"] = settings.census.service_id is not None
    facts["stream"] = facts.pop("streams")
    facts["file"] = facts.pop("path")
    if settings.queue.kind == "sqlite":
        del facts["queue"]["brokers"], facts["queue"]["topic"]
    server = facts["store"].pop("elasticsearch")
    if settings.store.kind == "elasticsearch":
        given = {key: server[key] is not None for key in ("password", "api_key")}
        facts["store"] = {"kind": settings.store.kind, "url": server.pop("urls"), **server, **given}
    return facts


def _lines(facts: dict[str, Any]) -> list[str]:
    file = facts["file"]
    lines = [f"The configuration{f' {file}' if file else ''} is right. With defaults and environment it is:"]
    for section in ("census", "stream", "queue", "store", "web"):
        parts = facts[section] if section == "stream" else [facts[section]]
        for part in parts:
            lines += ["", f"[[{section}]]" if section == "stream" else f"[{section}]"]
            lines += [f"{key:<20} {_shown(key, value)}" for key, value in part.items()]
    return lines


def _shown(key: str, value: Any) -> str:
    if value is True:  # only secrets are true or false
        return "given (not shown)"
    if value is None or value is False:
        return "none"
    if key == "worlds":
        return ", ".join(f"{world} ({world_name(world)})" for world in value)
    return ", ".join(value) if isinstance(value, tuple) else str(value)
