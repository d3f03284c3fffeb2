"""The secrets of the configuration: where each may be given, what goes before what, and what it has to look like.

A secret is given as `<key>`, or as `<key>_file`, which names a file that holds it alone, or as a credential of systemd's. No error shows one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from ps2daemon.errors import ConfigError
from ps2daemon.secret import Secret
from ps2daemon.settings_keys import Given

CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
"""Where systemd says in which folder a unit's credentials are."""
MAX_SERVICE_ID: Final = 128
MAX_SECRET: Final = 1024
"""Characters of a password or an API key: a server's limit for all headers is 8 KiB."""
MAX_SECRET_BYTES: Final = 4 * MAX_SECRET + 2
"""Of a file: UTF-8 takes up to four for a character, and a line's end up to two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretKey:
    """One secret.

    Attributes:
        key: its name in its section, where `<key>_file` is one too.
        credential: its name in systemd.
        what: it is, for a person.
        accepted: for a person, after "accepted".
        pattern: of all of it, once it is clean.
        clean: takes away what does not belong to it.
    """

    key: str
    credential: str
    what: str
    accepted: str
    pattern: str
    clean: Callable[[str], str]


class FoundSecret(NamedTuple):
    """A secret, and where it was given."""

    secret: Secret
    where: str


SERVICE_ID: Final = SecretKey(
    key="service_id",
    credential="service-id",
    what="service id",
    accepted=f"are 1 to {MAX_SERVICE_ID} letters, digits and signs without blanks, as Daybreak sent it",
    pattern=rf"""(?:(?![/\\"'<>&?#%])[!-~]){{1,{MAX_SERVICE_ID}}}""",
    clean=lambda text: text.strip().removeprefix("s:"),
)
PASSWORD: Final = SecretKey(
    key="password",
    credential="elasticsearch-password",
    what="password",
    accepted=f"is one line of 1 to {MAX_SECRET} characters",
    pattern=rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{MAX_SECRET}}}",
    clean=lambda text: text.removesuffix("\n").removesuffix("\r"),
)
API_KEY: Final = SecretKey(
    key="api_key",
    credential="elasticsearch-api-key",
    what="API key",
    accepted='is what the server calls "encoded" where it makes one: letters, digits, +, /, -, _ and =',
    pattern=rf"[A-Za-z0-9+/_-]{{1,{MAX_SECRET}}}={{0,2}}",
    clean=str.strip,
)


def read_secret(
    key: SecretKey, section: Mapping[str, Given], values: Mapping[str, Any], environ: Mapping[str, str]
) -> FoundSecret | None:
    """From the environment, from systemd, from the file: a unit's credential goes before what a shared file says.

    Args:
        section: what was given in its section.
        values: the section's values, checked.

    Raises:
        ConfigError: it is given twice, can't be read, or is none.
    """
    text, file = section.get(key.key), section.get(f"{key.key}_file")
    if text is not None and file is not None and text.from_environment == file.from_environment:
        raise ConfigError(f"{text.where}: there is a {key.key}_file too; give one of the two")
    folder = environ.get(CREDENTIALS_VARIABLE)
    credential = Path(folder, key.credential) if folder else None
    for from_environment in (True, False):
        if text is not None and text.from_environment == from_environment:
            return _checked(key, str(values[key.key]), text.where, text.where)
        if file is not None and file.from_environment == from_environment:
            return _held_by(key, values[f"{key.key}_file"], file.where)
        if credential is not None and os.path.exists(credential):  # False where the name can be none
            return _held_by(key, credential, f"systemd's credential {key.credential!r}")
    return None


def _held_by(key: SecretKey, path: Path, where: str) -> FoundSecret:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{where}: can't read {path}: {error.strerror}; accepted is a readable file that holds the {key.what} alone"
        ) from None
    return _checked(key, content.decode(errors="surrogateescape"), where, f"{where}: {path}")


def _checked(key: SecretKey, text: str, where: str, shown: str) -> FoundSecret:
    value = key.clean(text)
    if not re.fullmatch(key.pattern, value):
        raise ConfigError(f"{shown}: holds no {key.what}; accepted {key.accepted}")
    return FoundSecret(Secret(value), where)
