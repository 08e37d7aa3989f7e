"""As many seeded faults as `make faults` has by default, or as FAULTS says: all are survived, and nothing is lost or claimed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.campaign import campaign

COUNT, SEED = int(os.environ.get("FAULTS", "15")), int(os.environ.get("FAULTS_SEED", "0"))


@pytest.mark.slow
@pytest.mark.timeout(120 + 120 * COUNT)
@pytest.mark.usefixtures("no_aws")
def test_every_fault_is_survived_without_a_lost_row_or_a_false_claim(tmp_path: Path) -> None:
    report = campaign(COUNT, SEED, tmp_path)
    tried = len(report.tried)
    assert tried > 0
    wanted = {"faults": tried, "survived": tried, "lost rows": 0, "false done": 0, "repeated": 0}
    assert report.counts() == wanted, report.markdown()
    met = sum(outcome.hit for outcome in report.tried)
    assert met >= tried / 2, f"only {met} of {tried} faults met anything: {report.markdown()}"
