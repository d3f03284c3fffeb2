"""Configurations as texts, and how they are read or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ps2daemon.config import Settings, load_settings
from ps2daemon.errors import ConfigError

SECRET = "VerySecretId42"


def load(folder: Path, text: str, **environ: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    return load_settings(path, environ)


def refusal(folder: Path, text: str = "", **environ: str) -> str:
    """The line that says why; never with the secret in it."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, **environ)
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    return message
