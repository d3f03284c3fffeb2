"""Payloads as the stream sends them: keys in alphabetical order, no blanks, every value a string."""

from __future__ import annotations

from typing import Final, TypeAlias

from ps2daemon.model.events import (
    BONUS_CHANGED,
    CANCELED,
    ENDED,
    RESTARTED,
    STARTED,
    ContinentLock,
    Login,
    Logout,
    Metagame,
)
from ps2daemon.model.records import SECOND

Happening: TypeAlias = Login | Logout | Metagame | ContinentLock

STATE_NAMES: Final = {
    STARTED: "started",
    RESTARTED: "restarted",
    CANCELED: "canceled",
    ENDED: "ended",
    BONUS_CHANGED: "xp bonus changed",
}


def event_name(event: Happening) -> str:
    """The name under which an event is subscribed to."""
    match event:
        case Login():
            return "PlayerLogin"
        case Logout():
            return "PlayerLogout"
        case Metagame():
            return "MetagameEvent"
        case _:
            return "ContinentLock"


def payload_of(event: Happening) -> bytes:
    """An event's payload."""
    if isinstance(event, Login | Logout):
        name = "PlayerLogin" if isinstance(event, Login) else "PlayerLogout"
        return (
            f'{{"character_id":"{event.character_id}","event_name":"{name}",'
            f'"timestamp":"{event.at // SECOND}","world_id":"{event.world_id}"}}'
        ).encode()
    if isinstance(event, Metagame):
        return (
            f'{{"event_name":"MetagameEvent","experience_bonus":"25.000000","faction_nc":"{event.territory_nc:.6f}",'
            f'"faction_tr":"{event.territory_tr:.6f}","faction_vs":"{event.territory_vs:.6f}",'
            f'"instance_id":"{event.instance_id}","metagame_event_id":"{event.metagame_event_id}",'
            f'"metagame_event_state":"{event.state}","metagame_event_state_name":"{STATE_NAMES[event.state]}",'
            f'"timestamp":"{event.at // SECOND}","world_id":"{event.world_id}","zone_id":"{event.zone_id}"}}'
        ).encode()
    return (
        f'{{"event_name":"ContinentLock","metagame_event_id":"{event.metagame_event_id}",'
        f'"nc_population":"{event.population_nc:.0f}","previous_faction":"{event.previous_winner}",'
        f'"timestamp":"{event.at // SECOND}","tr_population":"{event.population_tr:.0f}",'
        f'"triggering_faction":"{event.winner}","vs_population":"{event.population_vs:.0f}",'
        f'"world_id":"{event.world_id}","zone_id":"{event.zone_id}"}}'
    ).encode()
