"""A campaign: faults one after the other, each followed by one clean run, and a report of what came of them."""

from __future__ import annotations

import re
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from storage import runs
from storage.store import Store
from tests.faults import checks, scenes
from tests.faults.faults import Fault, Happened, NotPossibleError, inflicted
from tests.faults.workshop import Calm, Workshop, workshop


@dataclass
class Outcome:
    """What came of one fault: counts of what must not be, and a sentence on each.

    left_out   why this machine cannot have such a fault
    hit        whether it met anything
    """

    seed: int
    kind: str
    where: str
    seconds: float = 0.0
    hit: bool = True
    notes: str = ""
    left_out: str = ""
    lost_rows: int = 0
    false_done: int = 0
    repeated: int = 0
    troubles: list[str] = field(default_factory=list)

    @property
    def survived(self) -> bool:
        """Whether all that is promised held."""
        return not self.troubles and not self.left_out


@dataclass(frozen=True)
class Report:
    """All faults of a campaign."""

    seed: int
    outcomes: Sequence[Outcome]

    @property
    def tried(self) -> list[Outcome]:
        """Those that this machine can have."""
        return [outcome for outcome in self.outcomes if not outcome.left_out]

    def counts(self) -> dict[str, int]:
        """Faults, survived, lost rows, false done, repeated."""
        tried = self.tried
        return {
            "faults": len(tried),
            "survived": sum(outcome.survived for outcome in tried),
            "lost rows": sum(outcome.lost_rows for outcome in tried),
            "false done": sum(outcome.false_done for outcome in tried),
            "repeated": sum(outcome.repeated for outcome in tried),
        }

    def markdown(self) -> str:
        """A table by kind, totals, and the seeds of what failed."""
        lines = ["| fault | faults | met something | survived | lost rows | false done | repeated | seconds |"]
        lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        kinds = list(dict.fromkeys(outcome.kind for outcome in self.tried))
        for kind in [*kinds, None]:
            own = [outcome for outcome in self.tried if kind in (outcome.kind, None)]
            counts = Report(self.seed, own).counts()
            seconds = sum(outcome.seconds for outcome in own)
            cells = [counts["faults"], sum(outcome.hit for outcome in own), *list(counts.values())[1:], round(seconds)]
            lines.append(f"| {kind or '**all**'} | {' | '.join(str(cell) for cell in cells)} |")
        for outcome in self.outcomes:
            if not outcome.survived:
                why = outcome.left_out or "; ".join(outcome.troubles)
                told = "left out" if outcome.left_out else "failed"
                lines.append(f"\n{told}: {outcome.kind}, {outcome.where}, {outcome.notes} (`SEED={outcome.seed} N=1`): {why}")
        return "\n".join(lines)


def campaign(count: int, seed: int, folder: Path, tell: Callable[[str], object] = print) -> Report:
    """Try the faults `seed`, `seed` + 1, ..., and tell of each as it is over."""
    outcomes = []
    with workshop(folder) as place:
        for number in range(seed, seed + count):
            outcome = _tried(Fault(number), place)
            outcomes.append(outcome)
            result = "left out" if outcome.left_out else "survived" if outcome.survived else "FAILED"
            hit = "" if outcome.hit else ", met nothing"
            tell(f"{number:6d} {result:8} {outcome.seconds:5.1f} s  {outcome.kind}, {outcome.where}: {outcome.notes}{hit}")
            for trouble in outcome.troubles:
                tell(f"                {trouble}")
    return Report(seed, outcomes)


def _tried(fault: Fault, place: Workshop) -> Outcome:
    outcome = Outcome(fault.seed, fault.kind, f"{fault.scene_name} on {fault.root_kind}")
    began = time.monotonic()
    try:
        with inflicted(fault, place) as happened:
            outcome.hit, outcome.notes = happened.hit, happened.notes
            _judge(fault, place, happened, outcome)
    except NotPossibleError as error:
        outcome.left_out = str(error)
    except Exception:
        outcome.troubles.append("the harness or a clean run raised: " + traceback.format_exc()[-1500:])
    outcome.seconds = time.monotonic() - began
    if outcome.survived:
        shutil.rmtree(place.folder / f"logs-{fault.seed}", ignore_errors=True)
    return outcome


def _judge(fault: Fault, place: Workshop, happened: Happened, outcome: Outcome) -> None:
    """Hold what is there against what is promised; then run once, with nothing in the way, and compare."""
    calm, root = place.calm(happened.scene.name), happened.root
    both = (calm, place.calm(happened.scene.name, is_other=True)) if fault.kind == "race other" else (calm,)
    if "Traceback (most recent call last)" in happened.said:
        outcome.troubles.append(f"a traceback was printed: {happened.said[-600:]}")
    if happened.status not in (None, 0, 1, 2):
        outcome.troubles.append(f"a run ended with status {happened.status}: {happened.said[-400:]}")
    failed = len(calm.tables["failures"])
    if fault.kind in ("race", "race other", "kill worker") and happened.hit and happened.status != int(failed > 0):
        outcome.troubles.append(f"status {happened.status} of a run that had only to be patient: {happened.said[-600:]}")
    if happened.damaged is not None:
        _verify(place, happened, calm, outcome)
    _count(outcome, "false_done", checks.false_claims(root, both))
    if fault.kind not in ("race", "race other") and _says_whole(happened, failed):
        _count(outcome, "false_done", scenes.different(scenes.published(root), calm.tables))
    kept = checks.committed(root)
    names = [name for spans in kept.values() for parts in spans.values() for name in parts]
    before = scenes.written(root, names)
    summary = place.clean(happened.scene, root, fault.rng.randint(1, 5))
    unexpected = [failure.message for failure in summary.failures if not failure.is_permanent]
    outcome.troubles += [f"the clean run failed: {message}" for message in unexpected]
    found = scenes.published(root)
    outcome.lost_rows = scenes.lost_rows(found, calm.tables)
    outcome.troubles += [f"after a clean run, {line}" for line in scenes.different(found, calm.tables)]
    _count(outcome, "repeated", checks.repeated(before, scenes.written(root, names)))
    _count(outcome, "repeated", checks.computed_again(summary.frames, kept, calm))
    _count(outcome, "false_done", checks.false_claims(root, both))
    outcome.troubles += [f"after a clean run, verify finds {line}" for line in checks.found_by_verify(root)]


def _verify(place: Workshop, happened: Happened, calm: Calm, outcome: Outcome) -> None:
    """`tkm verify` names what was damaged, unless it means nothing: what no commit names, or a remark in a table's log."""
    name = str(happened.damaged)
    before = scenes.written(happened.root, [name])
    log = place.folder / f"logs-{outcome.seed}" / "verify"
    status = place.run(log, ["verify", happened.root])
    said = log.read_text(errors="replace")
    if status not in (0, 1) or "Traceback (most recent call last)" in said:
        holds_runs = bool(Store(happened.root).folders("runs"))
        if status != 2 or holds_runs:
            outcome.troubles.append(f"verify ended with {status}: {said[-1200:]}")
    words = " ".join(said.split())
    told = name.split("/")[1] in words and "shard" in words if name.startswith("tables/") else _named(name, words)
    outcome.notes += "; verify named it" if told else "; verify did not name it"
    if not told and not name.startswith("tables/") and before and _counts(happened.root, name, calm):
        outcome.troubles.append(f"verify said nothing of {name}: {said[-600:]}")


def _named(name: str, words: str) -> bool:
    return name in words or name in words.replace(" ", "")


def _counts(root: str, name: str, calm: Calm) -> bool:
    """Whether damage to an object means anything: a part without a commit is nothing yet, and a plan has more than its rows."""
    if name.startswith("runs/") and name.endswith(".parquet"):
        return not runs.is_whole_record(Store(root), name)
    return not name.startswith("artifacts/") or name in calm.contents


def _says_whole(happened: Happened, failed: int) -> bool:
    """Whether the disturbed run told its user that all was done, but for so many videos that cannot be read."""
    told = re.search(r"(\d+) videos in .* s: \d+ published,\s+(\d+) failed", happened.said)
    return happened.status in (0, 1) and told is not None and int(told[2]) == failed


def _count(outcome: Outcome, what: str, lines: Sequence[str]) -> None:
    setattr(outcome, what, getattr(outcome, what) + len(lines))
    outcome.troubles += [f"{what.replace('_', ' ')}: {line}" for line in lines]
