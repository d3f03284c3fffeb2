"""`make fuzz`: each side from which inputs come, with mutations of right ones, for so many seconds in turn.

A finding is printed with its input in hex: `python -m tests.fuzz --replay SURFACE HEX` gives it again.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import sys

from tests.fuzz.running import fuzz
from tests.fuzz.surfaces import SURFACES

TURN_SECONDS = 15.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of all together (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the run (default: any)")
    parser.add_argument(
        "--only", choices=SURFACES, action="append", help="this surface, and no other that is not named too"
    )
    parser.add_argument("--replay", nargs=2, metavar=("SURFACE", "HEX"), help="one input again")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if arguments.replay is not None:
        report = fuzz(SURFACES[arguments.replay[0]], [bytes.fromhex(arguments.replay[1])])
        print(report, *(finding.error for finding in report.findings), sep="\n")
        return bool(report.findings)
    found = total = 0
    names = arguments.only or list(SURFACES)
    print(f"seed {arguments.seed}", flush=True)
    turns = max(1, round(arguments.seconds / len(names) / TURN_SECONDS))
    for run in range(arguments.seed, arguments.seed + turns):
        for name in names:
            report = fuzz(
                SURFACES[name],
                SURFACES[name].inputs(run),
                seconds=arguments.seconds / len(names) / turns,
            )
            print(report, flush=True)
            for finding in report.findings:
                print(f"  {finding.error}  --replay '{name}' {finding.data.hex()}", flush=True)
            found += len(report.findings)
            total += report.outcomes.total()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{total:,} inputs, {found} findings; the largest resident set was {peak:.0f} MB")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
