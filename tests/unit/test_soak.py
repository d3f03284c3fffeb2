"""What the soak lets go wrong."""

from __future__ import annotations

from random import Random

from bench.soak import CALM, FAULTS, SILENCES, planned
from ps2daemon.model.silence import KNOWN
from ps2daemon.simulator.faults.plan import parse_fault


def test_the_faults_of_a_soak() -> None:
    plans = [planned(Random(seed), 1_800.0) for seed in range(50)]
    assert min(map(len, plans)) > 30
    faults = [fault for plan in plans for fault in plan]
    assert {fault.text for fault in faults} == {*FAULTS}
    assert {parse_fault(each).fault.name for each in SILENCES} <= {*FAULTS}
    for fault in faults:
        assert fault.seconds is not None
        assert CALM <= fault.start <= 1_800.0 - CALM - fault.seconds
        assert fault.text not in SILENCES or fault.start > KNOWN
