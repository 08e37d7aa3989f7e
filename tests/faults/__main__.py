"""`make faults N=15 SEED=0`: exit status 1 where any fault was not survived."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Run a campaign, and tell, or record, what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--count", type=int, default=15, help="how many faults")
    parser.add_argument("--seed", type=int, default=0, help="the first fault; the others are the numbers after it")
    parser.add_argument("--record", type=Path, help="file to add the report to, as Markdown")
    parser.add_argument("--keep", type=Path, help="folder for all files, which stay; otherwise a temporary one")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tkm-faults-") as temporary:
        folder = chosen.keep or Path(temporary)
        os.environ.setdefault("PREFECT_HOME", str(folder / "prefect"))  # read when Prefect is imported
        from tests.faults.campaign import campaign

        report = campaign(chosen.count, chosen.seed, folder)
    counts = report.counts()
    print("", report.markdown(), "", ", ".join(f"{what} {count}" for what, count in counts.items()), sep="\n")
    if chosen.record:
        command = f"`make faults N={chosen.count} SEED={chosen.seed}`"
        with chosen.record.open("a") as file:
            file.write(f"\n{command}:\n\n{report.markdown()}\n")
    return int(counts["survived"] < counts["faults"])


if __name__ == "__main__":
    sys.exit(main())
