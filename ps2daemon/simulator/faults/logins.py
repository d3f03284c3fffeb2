"""Faults of logins and logouts.

Where somebody is said to come or go who does not, or is not said to, the truth says what happened. A relog really happens: the character
that just left comes back in the same second and leaves one second later, sooner than anybody comes back of his own accord.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import trio

from ps2daemon.model.events import Login, Logout
from ps2daemon.model.records import SECOND
from ps2daemon.simulator.faults.definition import ONE_WORLD, PERCENT, Fault
from ps2daemon.simulator.faults.telling import Also, Telling, draw, hit, sending_beside
from ps2daemon.simulator.names import character_id
from ps2daemon.simulator.payloads import Happening

if TYPE_CHECKING:
    from ps2daemon.simulator.server import Simulator

RESTART_SECONDS: Final = 30.0
"""How long a world is down."""
RETURN_SECONDS: Final = 60.0
"""In which all come back who were there."""
OVERTAKEN_SECONDS: Final = 0.2
"""How much later a logout is told than the login that followed it."""
_AT_ONCE: Final = 0.05
_STAY_SECONDS: Final = 1.0
_STRANGERS: Final = 900_000
"""From here on, numbers of characters that no story has."""
_UNTOLD: Final = "has them, as handed to no socket"
_RELOG: Final = "has the relog, a session of one second"


def _dropping(name: str, kind: type[Login | Logout]) -> Callable[[Telling, float], Sequence[Telling]]:
    def tell(telling: Telling, percent: float) -> Sequence[Telling]:
        event = telling.event
        return () if isinstance(event, kind) and hit(name, event, percent) else (telling,)

    return tell


def _orphan_logout(telling: Telling) -> Telling:
    event = telling.event
    stranger = character_id(event.world_id, _STRANGERS + int(draw("stranger", event, 0, 90_000)))
    return telling.saying(character_id=stranger).beside()


def _relogs(event: Happening, percent: float) -> bool:
    """One decision for all faults that are about relogs, so that they can be on together."""
    return isinstance(event, Logout) and hit("relog", event, percent)


def _relog(event: Happening, percent: float) -> Sequence[Also]:
    if not (isinstance(event, Logout) and _relogs(event, percent)):
        return ()
    who, world_id, at = event.character_id, event.world_id, event.at
    return (
        Also(Login(who, world_id, at), _AT_ONCE),
        Also(Logout(who, world_id, at + int(_STAY_SECONDS * SECOND)), _STAY_SECONDS),
    )


def _swapped(telling: Telling, percent: float) -> Sequence[Telling]:
    if telling.extra or not _relogs(telling.event, percent):
        return (telling,)
    return (telling.but(delay=telling.delay + OVERTAKEN_SECONDS),)


def _untold(telling: Telling, percent: float) -> Sequence[Telling]:
    return (telling,) if telling.extra or not _relogs(telling.event, percent) else ()


async def _restart(simulator: Simulator, world_id: int) -> None:
    """Everybody is thrown out without a word; then they come back as fast as they can."""
    truth, clock = simulator.truth, simulator.clock
    simulator.set_world(world_id, False)
    try:
        gone = truth.throw_out(world_id, clock.now() // SECOND * SECOND)
        await trio.sleep(RESTART_SECONDS)
    finally:
        simulator.set_world(world_id, True)
    for character in gone:
        await trio.sleep(RETURN_SECONDS / len(gone))
        who = character.character_id
        if who in truth.thrown_out:  # and would not have left meanwhile
            at = clock.now() // SECOND * SECOND
            truth.login(character, at, simulator.tell(Login(who, world_id, at)))


FAULTS: Final = (
    Fault(
        name="world_restart",
        quirk="E2 E3",
        place="login",
        effect="all out untold, back in a minute",
        truth="has the untold logouts and the logins; once it is over, the fault is off",
        value=ONE_WORLD,
        changes=True,
        task=_restart,
    ),
    Fault(
        name="drop_logouts",
        quirk="E2",
        place="login",
        effect="logouts that are not told",
        truth=_UNTOLD,
        value=PERCENT,
        tell=_dropping("drop_logouts", Logout),
    ),
    Fault(
        name="drop_logins",
        quirk="E3",
        place="login",
        effect="logins that are not told",
        truth=_UNTOLD,
        value=PERCENT,
        tell=_dropping("drop_logins", Login),
    ),
    Fault(
        name="same_second_relog",
        quirk="E5",
        place="login",
        effect="who leaves is back that second",
        truth=_RELOG,
        value=PERCENT,
        changes=True,
        happen=_relog,
    ),
    Fault(
        name="swapped_order",
        quirk="E7",
        place="login",
        effect="the same, the login told first",
        truth=_RELOG,
        value=PERCENT,
        changes=True,
        happen=_relog,
        tell=_swapped,
    ),
    Fault(
        name="double_login",
        quirk="E4",
        place="login",
        effect="the same, without the first logout",
        truth=f"{_RELOG}, and the logout before it as handed to no socket",
        value=PERCENT,
        changes=True,
        happen=_relog,
        tell=_untold,
    ),
    Fault(
        name="orphan_logout",
        quirk="E4",
        place="login",
        effect="logouts of who was never there",
        truth="knows nothing of them",
        value=PERCENT,
        tell=sending_beside("orphan_logout", _orphan_logout, Logout),
    ),
)
