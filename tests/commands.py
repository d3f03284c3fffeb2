"""What a command reads: a configuration, and the store that it points to."""

from __future__ import annotations

from pathlib import Path

import trio
from click.testing import CliRunner, Result

from ps2daemon.cli import main
from ps2daemon.store.base import Commit
from ps2daemon.store.sqlite import SqliteStore


def write_config(folder: Path, store: str = 'path = "ps2.db"', name: str = "config") -> Path:
    """A configuration of two worlds with these lines for its store."""
    file = folder / f"{name}.toml"
    file.write_text(
        '[census]\nservice_id = "s"\n[[stream]]\nurl = "ws://127.0.0.1:1"\nworlds = [1, 10]\n'
        f'[queue]\ndirectory = "queue"\n[store]\n{store}\n'
    )
    return file


def stored_config(folder: Path, commit: Commit) -> Path:
    """A configuration whose store, an SQLite file beside it, holds this."""

    async def fill() -> None:
        store = await SqliteStore.open(folder / "ps2.db")
        await store.commit(commit)
        await store.aclose()

    trio.run(fill)
    return write_config(folder)


def call(config: Path, *arguments: str) -> Result:
    """What a command says."""
    return CliRunner().invoke(main, ["--config", str(config), *arguments])
