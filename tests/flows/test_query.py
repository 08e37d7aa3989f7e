"""Queries: what there is to ask, what is refused, and how answers are written."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.errors import QueryError
from flows.queryable import listed
from storage.schemas import name_of
from tasks import track
from tasks.catalog import Catalog
from tasks.merge import RESULTS, read_results
from tasks.pipeline import PIPELINE
from tasks.plan import VideoPlan
from tasks.retention import dropped_stages, remove
from tests.flows.commands import ROOT, tkm
from tests.flows.queried import on_s3, rows
from tests.flows.recorded import copied, recorded, tracked_again


@pytest.fixture(scope="module")
def results(refined_run: VideoPlan, tmp_path_factory: pytest.TempPathFactory) -> VideoPlan:
    """One recorded and published run. Read it, do not change it."""
    plan = copied(refined_run, tmp_path_factory.mktemp("query") / "results")
    recorded(plan)
    return plan


def command(*arguments: str, said: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=said)


@pytest.mark.parametrize("where", ["folder", "run", "s3"])
def test_every_table_that_is_listed_can_be_asked(results: VideoPlan, where: str, request: pytest.FixtureRequest) -> None:
    store = on_s3(results.store, request.getfixturevalue("s3_root")) if where == "s3" else results.store
    run = store.folders("runs")[-1] if where == "run" else None
    catalog = Catalog(store, run)
    found = {table["name"]: table for table in listed(catalog, is_counted=True)}
    made = {name_of(stage.output) for stage in PIPELINE if stage.name in results.keys}
    assert set(found) == {name_of(schema) for schema in RESULTS} | {"failures"} | made
    for name, table in found.items():
        (counted,) = rows(catalog, f"SELECT count(*) AS rows FROM {name}")
        assert counted["rows"] == table["rows"] == len(rows(catalog, f"SELECT * FROM {name}")), name
        types = {row["column_name"]: row["column_type"] for row in rows(catalog, f"DESCRIBE {name}")}
        assert types == {column["name"]: column["type"] for column in table["columns"]}, name
        assert all(column["description"] for column in table["columns"])
    units = {column["name"]: column["unit"] for column in found["poses"]["columns"]}
    assert (units["nose_x"], units["pts_ns"], units["track_id"]) == ("px", "ns", "")


def test_a_run_answers_with_its_own_rows_and_the_address_with_the_latest(refined_run: VideoPlan, tmp_path: Path) -> None:
    plan = copied(refined_run, tmp_path / "results")
    first = recorded(plan)
    second = recorded(tracked_again(plan, track.TrackParams(similarity="iou")))
    for run, own in ((None, second), (first, first), (second, second)):
        catalog = Catalog(plan.store, run)
        for name in ("videos", "poses", "tracks", "frames"):
            expected = read_results(plan.store, run, name)
            assert rows(catalog, f"SELECT DISTINCT run FROM {name}") == [{"run": own}]
            shown = rows(catalog, f"SELECT * FROM {name}")
            assert {tuple(row.values()) for row in shown} == {tuple(row.values()) for row in expected.to_pylist()}, name
    keys = {run: rows(Catalog(plan.store, run), "SELECT publish_key AS key FROM videos")[0]["key"] for run in (first, second)}
    assert keys[first] != keys[second]


def test_artifacts_are_joined_with_what_was_published_of_them(results: VideoPlan) -> None:
    found = rows(
        Catalog(results.store, None),
        """SELECT count(*) AS poses, max(abs(p.box_x1 - c.box_x1)) AS apart, bool_and(p.track_id = t.track_id) AS same
        FROM poses p JOIN candidates c USING (video, frame, detection) JOIN tracked t USING (video, frame, detection)""",
    )
    assert found == [{"poses": 60, "apart": 0.0, "same": True}]


def test_what_was_removed_is_left_out_and_said(refined_run: VideoPlan, tmp_path: Path) -> None:
    plan = copied(refined_run, tmp_path / "results")
    recorded(plan)
    remove(plan.store, {(stage, key) for stage, key in plan.keys.items() if stage in dropped_stages("poses")})
    done = command("query", plan.store.root, "SELECT count(*) AS rows FROM features", "--format", "csv")
    assert done.stdout.splitlines() == ['"rows"', "0"]
    assert "features: the rows of 1 of 1 videos were removed" in " ".join(done.stderr.split())
    (features,) = (table for table in listed(Catalog(plan.store, None), is_counted=True) if table["name"] == "features")
    assert (features["rows"], features["videos"], features["planned"]) == (0, 0, 1)
    assert rows(Catalog(plan.store, None), "SELECT count(*) AS rows FROM poses") == [{"rows": 60}]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM poses", "only read"),
        ("CREATE TABLE x AS SELECT 1", "only read"),
        ("COPY poses TO '/tmp/x.csv'", "only read"),
        ("SET enable_external_access = true", "only read"),
        ("ATTACH '/tmp/x.db'", "only read"),
        ("INSTALL httpfs", "only read"),
        ("PRAGMA database_list", "only read"),
        ("SELECT 1; SELECT 2", "several"),
        ("", "nothing"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/x.csv'", "disabled"),
        ("SELECT * FROM '/etc/passwd'", "no table /etc/passwd"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled"),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
        ("SELECT * FROM read_parquet('s3://bucket/x.parquet')", "disabled"),
        ("SELECT * FROM glob('/*')", "disabled"),
        ("SELECT getenv('HOME')", "getenv"),
        ("SELECT * FROM catalog", "no table catalog; there are videos, frames, poses"),
        ("SELECT nose FROM poses", "nose_x"),
        ("SELEC 1", "syntax error"),
        ("SELECT 'a'::INT", "Could not convert"),
        ("SHOW TABLES", "tkm tables"),
    ],
)
def test_security_a_query_reads_the_tables_and_nothing_else(results: VideoPlan, sql: str, said: str) -> None:
    catalog = Catalog(results.store, None)
    before = results.store.list("")
    with pytest.raises(QueryError) as refused:
        rows(catalog, sql)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert results.store.list("") == before
    assert not Path("/tmp/x.csv").exists()


def test_an_answer_is_the_same_in_every_format(results: VideoPlan, tmp_path: Path) -> None:
    sql = (
        "SELECT video, frame, detection, score[1:2] AS two, sum(detection) OVER () AS total, 'NaN'::FLOAT AS none, "
        "'a,\"b'::BLOB AS bytes FROM refined ORDER BY frame, detection LIMIT 20"
    )
    done = {kind: command("query", results.store.root, sql, "--format", kind) for kind in ("csv", "json")}
    as_json = json.loads(done["json"].stdout)
    as_csv = list(csv.DictReader(io.StringIO(done["csv"].stdout)))
    target = tmp_path / "answer.parquet"
    assert command("query", results.store.root, sql, "--output", str(target)).exit_code == 0
    as_parquet = pq.read_table(target).to_pylist()
    assert len(as_json) == len(as_csv) == len(as_parquet) == 20
    for one, two, three in zip(as_json, as_csv, as_parquet, strict=True):
        assert (one["frame"], one["two"], one["total"]) == (three["frame"], three["two"], int(three["total"]))
        assert (two["video"], int(two["frame"]), json.loads(two["two"]), int(two["total"])) == (
            one["video"], one["frame"], one["two"], one["total"]
        )  # fmt: skip
        assert (one["none"], one["bytes"], two["bytes"]) == (None, "YSwiYg==", "YSwiYg==")
    assert [path.name for path in tmp_path.iterdir()] == ["answer.parquet"]


def test_an_answer_may_go_to_s3_and_a_file_of_there_be_asked(results: VideoPlan, s3_root: str) -> None:
    sql = "SELECT video, 'north' AS place FROM videos"
    assert command("query", results.store.root, sql, "--output", f"{s3_root}/places.csv").exit_code == 0
    join = "SELECT place, count(*) AS poses FROM poses JOIN places USING (video) GROUP BY ALL"
    done = command("query", results.store.root, join, "--with", f"places={s3_root}/places.csv", "--format", "json")
    assert json.loads(done.stdout) == [{"place": "north", "poses": 60}]


def test_a_statement_comes_from_a_file_or_standard_input(results: VideoPlan, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("SELECT 1 AS one")
    assert command("query", results.store.root, "--file", str(tmp_path / "q.sql"), "--format", "csv").stdout == '"one"\n1\n'
    assert command("query", results.store.root, "-", "--format", "csv", said="SELECT 2 AS two").stdout == '"two"\n2\n'
    assert isinstance(command("query", results.store.root).exception, QueryError)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("poses=x.csv", "a table poses already"),
        ("x", "NAME=FILE"),
        ("A-B=x.csv", "NAME=FILE"),
        ("x=x.xlsx", ".csv, .parquet, .json"),
        ("x=nowhere/x.csv", "no such file"),
        ("x=s3://user:secret@bucket/x.csv", "credentials"),
    ],
)
def test_a_file_of_ones_own_that_cannot_be_asked_is_refused(results: VideoPlan, given: str, said: str) -> None:
    done = command("query", results.store.root, "SELECT 1", "--with", given)
    assert isinstance(done.exception, QueryError)
    assert said in str(done.exception)
    assert "secret" not in str(done.exception)


def test_security_what_acts_on_a_terminal_is_spelt_out_in_a_table(results: VideoPlan) -> None:
    done = command("query", results.store.root, "SELECT chr(27) || '[31m' || chr(8238) AS name")
    assert done.exit_code == 0
    assert "[31m" in done.stdout
    assert not {"\x1b", "\u202e"} & set(done.stdout)


def test_a_wrong_query_is_a_sentence_and_status_2(results: VideoPlan, tmp_path: Path) -> None:
    done = tkm("query", results.store.root, "SELECT nope FROM tracks")
    assert done.returncode == 2
    assert done.stderr.startswith("tkm: ")
    assert len(done.stderr.splitlines()) == 1
    assert tkm("tables", str(tmp_path)).returncode == 2


def test_tables_are_listed_for_people_and_machines(results: VideoPlan) -> None:
    found = {table["name"]: table for table in json.loads(command("tables", results.store.root, "--json").stdout)}
    assert (found["poses"]["rows"], found["candidates"]["stages"], found["candidates"]["rows"]) == (60, ["estimate"], None)
    text = command("tables", results.store.root, "--count").stdout
    assert "candidates of estimate, 1 of 1 videos" in text


@pytest.mark.slow
def test_ctrl_c_stops_a_query_at_once_with_status_130(results: VideoPlan, tmp_path: Path) -> None:
    spill = {**os.environ, "TMPDIR": str(tmp_path)}
    (tmp_path / "out").mkdir()
    endless = "SELECT sum(sin(a.nose_x * e.nose_y)) FROM poses a, poses b, poses c, poses d, poses e, poses f"
    asked = ["query", results.store.root, endless, "--output", str(tmp_path / "out" / "x.csv")]
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *asked], cwd=ROOT, env=spill, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # shells have it ignored in the background
    )  # fmt: skip
    end = time.monotonic() + 60
    while not list(tmp_path.glob("tkm-query-*")) and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1)  # until it computes
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (130, False), said
    assert [path.name for path in tmp_path.rglob("*")] == ["out"], "neither a part of the answer stays, nor what was spilt"
