"""Every query and program of docs/cookbook.md answers on the demo's results."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.query import given_table
from storage.store import Store
from tasks.catalog import Catalog
from tasks.plan import VideoPlan
from tests.flows.queried import COOKBOOK, on_s3, rows
from tests.flows.recorded import copied, recorded

Rows = list[dict[str, Any]]
TEXT = COOKBOOK.read_text()


def blocks(text: str, language: str) -> list[str]:
    return [block.removeprefix(f"{language}\n") for block in text.split("```")[1::2] if block.startswith(f"{language}\n")]


QUESTIONS = {part.partition(".")[0]: blocks(part, "sql")[0] for part in TEXT.split("\n## ")[1:] if blocks(part, "sql")}
PROGRAMS = blocks(TEXT, "python")
ALONE = "\nimport sys\nassert not {'tkm', 'storage', 'tasks', 'flows'} & set(sys.modules)\n"


@pytest.fixture(scope="module")
def results(refined_run: VideoPlan, tmp_path_factory: pytest.TempPathFactory) -> VideoPlan:
    plan = copied(refined_run, tmp_path_factory.mktemp("cookbook") / "results")
    recorded(plan)
    return plan


def everybody(found: Rows) -> bool:
    return {row["track_id"] for row in found} == {0, 1, 2}


ANSWERS: dict[str, Callable[[Rows], bool]] = {
    "1": lambda found: [(row["second"], row["most"]) for row in found] == [(0, 3)],
    "2": lambda found: everybody(found) and all(0.3 < row["seconds"] < 0.35 and row["share_seen"] == 1 for row in found),
    "3": lambda found: len(found) > 0 and all(0 <= row["median"] <= row["fast"] < 100 for row in found),
    "4": lambda found: len(found) > 0 and all(row["track_id"] < row["other"] and row["nearest_heights"] < 2 for row in found),
    "5": lambda found: everybody(found) and all(row["name"] == "cam01.mp4" and row["poses"] == 20 for row in found),
    "6": lambda found: all(row["severity"] >= 1 and 0 <= row["frame"] < 20 for row in found),
    "7": lambda found: [(row["place"], row["videos"], row["poses"]) for row in found] == [("north gate", 1, 60)],
    "8": lambda found: len(found) == 17 and all(row["poses"] == 60 for row in found),
    "9": lambda found: found[0]["poses"] == 60 and 0 < found[0]["moved"] <= 60 and found[0]["farthest_px"] > 1,
    "10": lambda found: everybody(found) and all(row["candidate"] <= 16 and row["response"] >= 0 for row in found),
    "11": lambda found: found[0]["detections"] - found[0]["dropped"] == 60,
    "12": lambda found: found == [],
}


def test_every_question_has_an_answer_that_is_looked_at() -> None:
    assert list(QUESTIONS) == list(ANSWERS)
    assert TEXT.count("```sql") == len(QUESTIONS)


@pytest.mark.parametrize("number", ANSWERS)
def test_a_question_is_answered(results: VideoPlan, tmp_path: Path, number: str) -> None:
    (tmp_path / "cameras.csv").write_text(blocks(TEXT, "csv")[0])
    name, own = given_table(f"cameras={tmp_path}/cameras.csv", {})
    found = rows(Catalog(results.store, None), QUESTIONS[number], {name: own})
    assert ANSWERS[number](found), found


def test_a_first_candidate_is_where_the_response_is_highest(results: VideoPlan) -> None:
    found = rows(Catalog(results.store, None), QUESTIONS["10"])
    for track in range(3):
        responses = [row["response"] for row in found if row["track_id"] == track]
        assert responses == sorted(responses, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("program", [program for program in PROGRAMS if "s3://" not in program])
def test_tables_are_read_without_this_package(results: VideoPlan, program: str) -> None:
    said = run(program, Path(results.store.root).parent, {})
    assert results.video in said


@pytest.mark.slow
def test_tables_are_read_without_this_package_on_s3(results: VideoPlan, s3_root: str, tmp_path: Path) -> None:
    there = on_s3(results.store, f"{s3_root}/results")
    (program,) = (program for program in PROGRAMS if "s3://" in program)
    said = run(program.replace("s3://bucket/results", there.root), tmp_path, dict(os.environ))
    assert said.count("60") == 2, "both count the poses"


def test_the_same_is_answered_on_s3(results: VideoPlan, s3_root: str) -> None:
    there = on_s3(results.store, f"{s3_root}/results")
    for number in ("1", "10"):
        assert rows(Catalog(there, None), QUESTIONS[number]) == rows(Catalog(Store(results.store.root), None), QUESTIONS[number])


def run(program: str, folder: Path, environment: dict[str, str]) -> str:
    command = [sys.executable, "-I", "-c", program + ALONE]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
