"""The indices, their mappings, and how what is there already becomes what this version needs.

Sessions have an index a month, of the time that is first known of them, so that a window reads what it covers and old months can be dropped whole;
all other kinds have one index each. Nothing is mapped that this file does not name (`dynamic: false`), and what nobody searches for is kept in the
document alone. Templates say the same as the indices, for the eyes of an operator and for an index that comes into being by any other way.

The version of all of it is in `_meta` of each mapping and template.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from ps2daemon.errors import StoreMismatch, StoreUnavailable
from ps2daemon.model.records import DAY, SECOND, Ms
from ps2daemon.store.elasticsearch.server import Server

VERSION: Final = 1
OWNER: Final = "ps2daemon"
KINDS: Final = ("sessions", "characters", "alerts", "locks", "coverage", "unsettled", "notes", "meta")
REFRESH_INTERVAL: Final = "1s"
"""Said although it is the default: only then an index that nobody searches is refreshed as well, and the first one who does need not wait."""
PRIORITY: Final = 500
"""Above the templates that come with the server."""

_KEYWORD: Final = {"type": "keyword"}
_DATE: Final = {"type": "date", "format": "epoch_millis"}
_OPEN: Final = {"type": "keyword", "null_value": "open"}

PROPERTIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "sessions": {
        "character_id": _KEYWORD,
        "world_id": _KEYWORD,
        "faction_id": _KEYWORD,
        "first_ts": _DATE,
        "login_ts": _DATE,
        "logout_ts": _DATE,
        "online": {"type": "date_range", "format": "epoch_millis"},
        "started_by": _KEYWORD,
        "ended_by": _OPEN,
        "ended_after": _DATE,
        "ended_before": _DATE,
    },
    "characters": {
        "character_id": _KEYWORD,
        "character_name": _KEYWORD,
        "faction": _KEYWORD,
        "faction_id": _KEYWORD,
        "world_id": _KEYWORD,
        "world_name": _KEYWORD,
        "last_ts": _DATE,
        "named": {"type": "boolean"},
        "enriched_at": _DATE,
    },
    "alerts": {
        "alert_id": _KEYWORD,
        "world_id": _KEYWORD,
        "metagame_event_id": _KEYWORD,
        "name": _KEYWORD,
        "type": _KEYWORD,
        "zone_id": _KEYWORD,
        "start": _DATE,
        "end": _DATE,
        "ended_by": _KEYWORD,
        "canceled": {"type": "boolean"},
        "winner": _KEYWORD,
        "lock_id": _KEYWORD,
        "first_change": _DATE,
    },
    "locks": {
        "lock_id": _KEYWORD,
        "world_id": _KEYWORD,
        "zone_id": _KEYWORD,
        "at": _DATE,
        "winner": _KEYWORD,
        "previous_winner": _KEYWORD,
        "metagame_event_id": _KEYWORD,
        "alert_id": _KEYWORD,
    },
    "coverage": {"world_id": _KEYWORD, "from": _DATE, "to": _DATE, "after": _KEYWORD},
    "unsettled": {"id": _KEYWORD, "world_id": _KEYWORD, "start": _DATE, "end": _DATE},
    "notes": {"note_id": _KEYWORD, "at": _DATE, "world_ids": _KEYWORD, "text": {"type": "text"}},
    "meta": {},
}
"""By kind. Ids are keywords: they are compared and grouped, never added."""

_SETTINGS: Final = {
    "sessions": {
        # How long the server knows which commit removed a session: longer than any request that it may still have to do.
        "index.gc_deletes": "10m",
    },
    # Whoever looks for characters that have no name yet can wait; to make each change visible at once would double the server's work.
    "characters": {"index.refresh_interval": "15s"},
    # Read by id alone.
    "meta": {"index.refresh_interval": "-1"},
    # The writer shows it, after what it vouches for (see `writing`).
    "coverage": {"index.refresh_interval": "-1"},
}
"""No `index.sort`: with a month an index it makes a series no faster (78 ms with and without, 28 days out of 6 M sessions)."""


_NOTHING: Final = msgspec.Raw(b"{}")


class _Meta(msgspec.Struct, omit_defaults=True):
    owner: str | None = None
    version: int = 0
    replicas: int | None = None


class _TemplateBody(msgspec.Struct):
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)


class _Template(msgspec.Struct):
    name: str
    index_template: _TemplateBody


class _Templates(msgspec.Struct):
    index_templates: list[_Template] = []


class _Field(msgspec.Struct):
    type: str = "object"


class _Mapping(msgspec.Struct):
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)
    dynamic: bool | str = False
    properties: dict[str, _Field] = {}


class _IndexMapping(msgspec.Struct):
    mappings: _Mapping


class Names:
    """The names of the indices under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.characters = f"{prefix}-characters"
        self.alerts = f"{prefix}-alerts"
        self.locks = f"{prefix}-locks"
        self.coverage = f"{prefix}-coverage"
        self.unsettled = f"{prefix}-unsettled"
        self.notes = f"{prefix}-notes"
        self.meta = f"{prefix}-meta"
        self.sessions = f"{prefix}-sessions-*"
        """All months."""
        self.all = ",".join(self.pattern(kind) for kind in KINDS)

    def month(self, at: Ms) -> str:
        """The index of sessions that are first known at `at`."""
        return f"{self.prefix}-sessions-{_month(at // DAY)}"

    def pattern(self, kind: str) -> str:
        """What matches the index, or indices, of a kind."""
        return self.sessions if kind == "sessions" else f"{self.prefix}-{kind}"

    def kind(self, index: str) -> str | None:
        """The kind of an index; None if it is none of these."""
        rest = index.removeprefix(f"{self.prefix}-")
        if rest.startswith("sessions-"):
            return "sessions"
        return rest if rest in KINDS else None


class Schema:
    """Makes, checks and remembers the indices of one prefix."""

    def __init__(self, server: Server, names: Names, replicas: int) -> None:
        self._server = server
        self._names = names
        self._replicas = replicas
        self._known: set[str] = set()

    async def check(self) -> set[str]:
        """The indices that are there, all of them fit to read.

        Raises:
            StoreMismatch: one is of another program, of a newer version, or mapped otherwise.
        """
        older = self._examine(await self._mappings(self._names.all))
        if older:
            raise StoreMismatch(
                f"the index {older[0]} at {self._server.name} is of an older version, and this program reads version {VERSION}: "
                "start `ps2daemon run` once, or call `ps2daemon store init`, which brings it up to date"
            )
        return set(self._known)

    async def install(self) -> None:
        """Templates, indices and mappings of this version, whatever of it is there already.

        Raises:
            StoreMismatch: an index is of another program, of a newer version, or mapped otherwise; nothing was changed.
        """
        older = self._examine(await self._mappings(self._names.all))
        await self._install_templates()
        for index in older:
            of = self._names.kind(index)
            assert of is not None
            await self._server.ask("PUT", f"/{index}/_mapping", _mapping(of), type=msgspec.Raw)
            self._known.add(index)
        await self.ensure(self._names.pattern(kind) for kind in KINDS if kind != "sessions")

    async def _install_templates(self) -> None:
        """Those that are not there, or say something else; to write one costs the whole cluster a change of its state."""
        answer = await self._server.ask(
            "GET",
            f"/_index_template/{self._names.prefix}-*",
            params={"filter_path": "index_templates.name,index_templates.index_template._meta"},
            type=_Templates,
            absent=_Templates(),
        )
        wanted = _Meta(OWNER, VERSION, self._replicas)
        known = {each.name: each.index_template.meta for each in answer.index_templates}
        for kind in KINDS:
            name = f"{self._names.prefix}-{kind}"
            if known.get(name) != wanted:
                body = {
                    "index_patterns": [self._names.pattern(kind)],
                    "priority": PRIORITY,
                    "template": self._body(kind),
                    "_meta": wanted,
                }
                await self._server.ask("PUT", f"/_index_template/{name}", body, type=msgspec.Raw)

    async def remove(self) -> None:
        """Deletes everything that is this program's under the prefix, for good.

        Raises:
            StoreMismatch: an index is not; nothing was deleted.
        """
        there = await self._mappings(self._names.all)
        self._examine(there)
        self.forget()
        for index in there:  # the server takes no pattern for this
            await self._server.ask("DELETE", f"/{index}", type=msgspec.Raw, absent=_NOTHING)
        for kind in KINDS:
            path = f"/_index_template/{self._names.prefix}-{kind}"
            await self._server.ask("DELETE", path, type=msgspec.Raw, absent=_NOTHING)

    async def ensure(self, indices: Iterable[str]) -> None:
        """Makes those indices that are not there.

        Raises:
            StoreUnavailable: one is there and is none of this program's, which a person has to mend.
        """
        for index in set(indices) - self._known:
            try:
                self._examine(await self._mappings(index))
                if index not in self._known:
                    await self._create(index)
            except StoreMismatch as error:
                raise StoreUnavailable(str(error)) from error

    def forget(self) -> None:
        """Looks at everything again before it is used: somebody may have changed or removed it."""
        self._known.clear()

    async def _create(self, index: str) -> None:
        kind = self._names.kind(index)
        assert kind is not None
        try:
            await self._server.ask("PUT", f"/{index}", self._body(kind), type=msgspec.Raw)
        except StoreMismatch as error:
            if "resource_already_exists" not in str(error) and "already exists" not in str(error):
                raise
            self._examine(await self._mappings(index))  # another process was faster
        self._known.add(index)

    def _body(self, kind: str) -> dict[str, Any]:
        return {
            "settings": {
                "index.number_of_shards": 1,
                "index.number_of_replicas": self._replicas,
                "index.refresh_interval": REFRESH_INTERVAL,
                **_SETTINGS.get(kind, {}),
            },
            "mappings": _mapping(kind),
        }

    async def _mappings(self, indices: str) -> dict[str, _IndexMapping]:
        return await self._server.ask(
            "GET",
            f"/{indices}/_mapping",
            params={"ignore_unavailable": "true", "allow_no_indices": "true", "expand_wildcards": "open"},
            type=dict[str, _IndexMapping],
        )

    def _examine(self, found: Mapping[str, _IndexMapping]) -> list[str]:
        """Remembers those of this version, and returns those of an older one."""
        older = []
        for index, body in found.items():
            kind = self._names.kind(index)
            if kind is None:
                continue
            mapping = body.mappings
            if mapping.meta.owner != OWNER:
                raise StoreMismatch(
                    f"the index {index} at {self._server.name} is not this program's: delete it if it is of no use, or set another "
                    "store.index_prefix"
                )
            if mapping.meta.version > VERSION:
                raise StoreMismatch(
                    f"the index {index} at {self._server.name} is of version {mapping.meta.version}, and this program knows up to "
                    f"{VERSION}: use the newer program that wrote it"
                )
            if mapping.dynamic == "strict":
                raise StoreMismatch(
                    f"the index {index} at {self._server.name} refuses fields that it does not map (dynamic: strict), and this program writes "
                    "some: set its dynamic to false"
                )
            for name, wanted in PROPERTIES[kind].items():
                field = mapping.properties.get(name)
                if field is not None and field.type != wanted["type"]:
                    raise StoreMismatch(
                        f"the index {index} at {self._server.name} maps {name} as {field.type} and not as {wanted['type']}: "
                        "copy it into one that this program makes, or delete it"
                    )
            if mapping.meta.version < VERSION or PROPERTIES[kind].keys() - mapping.properties.keys():
                older.append(index)
            else:
                self._known.add(index)
        return older


@lru_cache
def _month(day: int) -> str:
    """The month of a day since the epoch."""
    return f"{datetime.fromtimestamp(day * DAY // SECOND, UTC):%Y.%m}"


def _mapping(kind: str) -> dict[str, Any]:
    return {
        "dynamic": False,
        "_meta": {"owner": OWNER, "version": VERSION},
        "properties": PROPERTIES[kind],
    }
