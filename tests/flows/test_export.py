"""Results in other tools' formats: what is read back is what was published, and scores the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pycocotools.coco import COCO

from flows.evaluate import matched
from flows.export import export
from flows.scoreboard import Scoring, evaluation_of
from flows.settings import SettingsError
from flows.sides import Side, side_of_files, side_of_store
from storage import parquet, tables
from storage.artifacts import DamagedArtifactError
from storage.codecs import column, keypoints_from_columns
from storage.documents import find_documents, read_annotations
from storage.parquet import read_parquet
from storage.schemas import PUBLISHED, name_of
from storage.sources import InputError, Source
from storage.store import Store, StoreError
from tasks import exports
from tasks.evaluation import import_truth, read_predictions, score_video
from tasks.merge import read_results
from tasks.predictions import in_skeleton
from tasks.score import ScoreParams
from tests.flows.commands import tkm
from tests.flows.given_runs import annotated, of_file, people, pictures
from tests.flows.results import write_clip
from tests.tkm.metrics_builders import BONN, needs_bonn
from tkm.datasets import posetrack18
from tkm.datasets.sequence import Sequence
from tkm.skeleton import COCO_17, POSETRACK_15, Skeleton

_BOX = ("box_x1", "box_y1", "box_x2", "box_y2")
NAMES = tuple(f"images/val/000002_bonn_test/{number:06d}.jpg" for number in range(3, 9))


def rows_of(store: Store, video: str) -> pa.Table:
    return read_results(store, None, "poses", videos=[video])


def read_one(uri: str) -> Sequence:
    (found,) = read_annotations(uri)
    assert isinstance(found, Sequence)
    return found


def assert_published(found: Sequence, rows: pa.Table, skeleton: Skeleton) -> None:
    """Assert that people are those of published rows, to the last bit."""
    people = found.people
    xy_px, score = keypoints_from_columns(rows, skeleton, np.float64)
    missing = np.isnan(xy_px[..., 0])
    np.testing.assert_array_equal(people.frame, column(rows, "frame", np.int64))
    np.testing.assert_array_equal(people.track_id, column(rows, "track_id", np.int64))
    np.testing.assert_array_equal(people.score, column(rows, "pose_score", np.float64))
    np.testing.assert_array_equal(people.xy_px, xy_px)
    np.testing.assert_array_equal(people.keypoint_score[~missing], score[~missing])


@pytest.mark.parametrize("format_", ["posetrack18", "posetrack17"])
def test_posetrack_tells_all_frames_and_people_and_calls_frames_as_their_pictures(format_: str, tmp_path: Path) -> None:
    store, target = Store(str(tmp_path / "out")), str(tmp_path / "files")
    clip = tmp_path / "walk.of.mp4"
    write_clip(clip)
    folder = pictures(tmp_path / "pictures" / "000007_mpii_test", 6)
    placed = ((0, 0, 100.0), (0, 1, 300.0), (2, 0, 110.0), (3, 0, 115.0), (4, 1, 320.0))
    known = people("000002_bonn_test", 6, *placed, skeleton=POSETRACK_15, names=NAMES)
    walked = people("walk.of", 21, *placed)
    annotated(store, (of_file(known.name), known), (Source(str(clip)), walked), (folder, people("x", 6, *placed)), every=2)
    written = list(export(store, None, format_, target))
    names = ("000002_bonn_test", "000007_mpii_test", "walk.of")
    assert written == [f"{target}/{name}.json" for name in names]
    assert sorted(Store(target).list("")) == [f"{name}.json" for name in names]
    found = dict(zip(names, map(read_one, written), strict=True))
    assert found["000002_bonn_test"].frame_names == NAMES
    assert found["000007_mpii_test"].frame_names == tuple(f"images/000007_mpii_test/{n}_a.png" for n in range(8, 14))
    assert found["walk.of"].frame_names == tuple(f"images/walk.of/{t:06d}.jpg" for t in range(21))
    assert [len(one) for one in found.values()] == [6, 6, 21]
    for one in found.values():
        np.testing.assert_array_equal(one.is_labeled, np.arange(len(one)) % 2 == 0)
        assert sorted(set(one.people.frame.tolist())) == [0, 2, 4]
        assert one.skeleton is POSETRACK_15
    rows = rows_of(store, of_file(known.name).video_id)
    assert_published(found["000002_bonn_test"], rows, POSETRACK_15)
    if format_ == "posetrack18":
        box = np.stack([column(rows, side, np.float64) for side in _BOX], axis=1)
        np.testing.assert_array_equal(found["000002_bonn_test"].people.box_xyxy_px, box)
        assert found["000002_bonn_test"].image_id.tolist() == [20000020003 + t for t in range(6)]
        assert found["walk.of"].image_id.min() > 10**13
        assert found["walk.of"].size_px[0].tolist() == [240, 200]
    # Of COCO's points, what has a name there, and neck and head top as `evaluate` derives them.
    converted = in_skeleton(side_of_store(store, None, ["walk.of"]).results[0].read(), POSETRACK_15).people
    np.testing.assert_array_equal(found["walk.of"].people.xy_px, converted.xy_px)
    assert not np.isnan(found["walk.of"].people.xy_px[:, POSETRACK_15.keypoints.index("head_top")]).any()


def test_pictures_that_are_gone_and_names_without_a_folder_are_put_into_one_of_the_videos_name(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    folder = pictures(tmp_path / "frames.1", 2)
    bare = people("bare", 2, (0, 0, 100.0), names=("8.jpg", "9.jpg"))
    annotated(store, (folder, people("x", 2, (1, 0, 100.0))), (of_file("bare"), bare))
    for path in Path(folder.uri).iterdir():
        path.unlink()
    Path(folder.uri).rmdir()
    one, other = map(read_one, export(store, None, "posetrack18", str(tmp_path / "files")))
    assert one.frame_names == ("images/bare/8.jpg", "images/bare/9.jpg")
    assert other.frame_names == ("images/frames.1/000000.jpg", "images/frames.1/000001.jpg")


def test_coco_loads_in_pycocotools_and_gives_the_published_rows(any_root: str, tmp_path: Path) -> None:
    store, target = Store(any_root), f"{any_root}-files"
    one, other = people("one", 4, (0, 0, 100.0), (2, 0, 105.0), (2, 1, 300.0)), people("two", 3, (1, 0, 200.0))
    annotated(store, *((of_file(video.name), video) for video in (one, other, people("nobody", 2, skeleton=POSETRACK_15))))
    assert list(export(store, None, "coco", target)) == [f"{target}/annotations.json", f"{target}/results.json"]
    for name in ("annotations", "results"):
        (tmp_path / f"{name}.json").write_bytes(Store(target).read(f"{name}.json"))
    loaded = COCO(str(tmp_path / "annotations.json"))
    results = loaded.loadRes(str(tmp_path / "results.json"))
    assert len(loaded.imgs) == 9
    assert len(loaded.anns) == len(results.anns) == 4
    found = {one.name: one for one in read_annotations(f"{target}/annotations.json") if isinstance(one, Sequence)}
    assert {name: len(video) for name, video in found.items()} == {"nobody": 2, "one": 4, "two": 3}
    for name in ("one", "two"):
        rows = rows_of(store, of_file(name).video_id)
        assert_published(replace_scores(found[name], rows), rows, COCO_17)
        of_name = [image["id"] for image in loaded.imgs.values() if f"/{name}/" in image["file_name"]]
        scores = np.array([results.anns[n]["keypoints"][2::3] for n in results.getAnnIds(imgIds=of_name)])
        _, expected = keypoints_from_columns(rows, COCO_17, np.float64)
        np.testing.assert_array_equal(scores, np.nan_to_num(expected))


def replace_scores(found: Sequence, rows: pa.Table) -> Sequence:
    """COCO's datasets have no place for the scores of keypoints."""
    return replace(found, people=replace(found.people, keypoint_score=keypoints_from_columns(rows, COCO_17, np.float64)[1]))


def test_coco_holds_one_skeleton_and_posetrack_one_video_of_a_name(tmp_path: Path) -> None:
    store, target = Store(str(tmp_path / "out")), str(tmp_path / "files")
    twin = Source("/others.json#a", "poses")
    videos = [(of_file("a"), people("a", 2, (0, 0, 100.0))), (twin, people("a", 2, (0, 0, 100.0), skeleton=POSETRACK_15))]
    annotated(store, *videos)
    with pytest.raises(InputError, match=rf"(?=.*{of_file('a').video_id})(?=.*{twin.video_id}).* both called a.*--videos"):
        list(export(store, None, "coco", target))
    assert list(export(store, None, "coco", target, [twin.video_id])) == [f"{target}/annotations.json", f"{target}/results.json"]
    annotated(store, (of_file("b"), people("b", 2, (0, 0, 100.0))))
    with pytest.raises(InputError, match=r"(?=.*coco_17 \(b\))(?=.*posetrack_15 \(a\)).*--videos"):
        list(export(store, None, "coco", target, [twin.video_id, "b"]))


def test_parquet_holds_the_published_tables_in_order_with_units_and_is_read_as_detections(
    any_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 4)
    store, target = Store(any_root), Store(f"{any_root}-files")
    walk = tuple((t, 0, 100.0 + t) for t in range(5))
    annotated(store, *((of_file(name), people(name, 6, *walk)) for name in ("b", "a", "c")))
    written = list(export(store, None, "parquet", target.root))
    assert written == [f"{target.root}/{name}.parquet" for name in (
        "videos", "frames", "poses", "tracks", "suspects", "corrections",
    )]  # fmt: skip
    for schema in PUBLISHED[:6]:
        name = name_of(schema)
        found = read_parquet(target.read(f"{name}.parquet"))
        assert found.schema.equals(schema, check_metadata=True)
        assert tables.as_written(name, found).equals(tables.as_written(name, tables.read(store, name)))
        order = [(key, "ascending") for key in ("video", "frame", "track_id") if key in found.column_names]
        plain = found.set_column(0, "video", found["video"].cast(pa.string()))
        assert plain.equals(plain.take(pc.sort_indices(plain, sort_keys=order)))
    (tmp_path / "poses.parquet").write_bytes(target.read("poses.parquet"))
    metadata = pa.parquet.ParquetFile(tmp_path / "poses.parquet").metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [4, 4, 4, 3]
    again = [one for one in read_annotations(str(tmp_path / "poses.parquet")) if isinstance(one, Sequence)]
    assert [one.name for one in again] == sorted(of_file(name).video_id for name in "abc")
    for one in again:
        xy_px, score = keypoints_from_columns(rows_of(store, one.name), COCO_17, np.float64)
        np.testing.assert_array_equal(one.people.xy_px, xy_px)
        np.testing.assert_array_equal(one.people.keypoint_score, score)


def test_an_export_that_fails_leaves_earlier_files_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, target = Store(str(tmp_path / "out")), tmp_path / "files"
    annotated(store, *((of_file(name), people(name, 6, (0, 0, 100.0))) for name in "ab"))
    list(export(store, None, "parquet", str(target)))
    earlier = {path.name: path.read_bytes() for path in target.iterdir()}
    rows, seen = exports.published_rows, []

    def damaged(*arguments: object) -> dict[str, pa.Table]:
        if seen:
            raise DamagedArtifactError("damaged")
        seen.append(arguments)
        return rows(*arguments)

    monkeypatch.setattr(exports, "published_rows", damaged)
    with pytest.raises(DamagedArtifactError):
        list(export(store, None, "parquet", str(target)))
    assert {path.name: path.read_bytes() for path in target.iterdir()} == earlier
    monkeypatch.setattr(exports, "published_rows", rows)
    list(export(store, None, "parquet", str(target), ["a"]))
    assert len(read_parquet((target / "videos.parquet").read_bytes())) == 1


@pytest.mark.parametrize("format_", ["posetrack18", "posetrack17"])
def test_track_ids_that_posetracks_evaluator_refuses_are_named(
    format_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "out"))
    annotated(store, (of_file("a"), people("a", 2, (0, 0, 100.0))))
    rows = exports.published_rows

    def later(*arguments: object) -> dict[str, pa.Table]:
        found = rows(*arguments)
        place = found["poses"].schema.get_field_index("track_id")
        return found | {"poses": found["poses"].set_column(place, "track_id", pa.array([10_000]))}

    monkeypatch.setattr(exports, "published_rows", later)
    with pytest.raises(InputError, match=f"{of_file('a').video_id}.*10000"):
        list(export(store, None, format_, str(tmp_path / "files")))


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    store, target = Store(str(tmp_path / "out")), str(tmp_path / "files")
    with pytest.raises(StoreError, match="tkm annotate"):
        list(export(store, None, "coco", target))
    run = annotated(store, (of_file("a"), people("a", 2, (0, 0, 100.0))))
    with pytest.raises(StoreError, match=run):
        list(export(store, "20200101-000000-abcdef", "coco", target))
    with pytest.raises(InputError, match=r"--videos b: .*only a"):
        list(export(store, None, "coco", target, ["b"]))
    with pytest.raises(StoreError, match="another --output"):
        list(export(store, None, "coco", store.root))
    with pytest.raises(SettingsError, match=r"--format cocoa: .*posetrack18, posetrack17, coco, parquet"):
        list(export(store, None, "cocoa", target))
    assert not Path(target).exists()


def test_the_command_exports_a_run_and_says_where_to(tmp_path: Path) -> None:
    store, target = Store(str(tmp_path / "out")), tmp_path / "files"
    first = annotated(store, (of_file("a"), people("a", 3, (0, 0, 100.0))))
    annotated(store, (of_file("a"), people("a", 3, (0, 0, 200.0), (1, 0, 200.0))))
    done = tkm("export", f"{store.root}@{first}", "--format", "posetrack18", "-o", str(target))
    assert (done.returncode, done.stdout.split()) == (0, [f"{target}/a.json"]), done.stderr
    assert read_one(f"{target}/a.json").people.frame.tolist() == [0]
    list(export(store, None, "posetrack18", str(target)))
    assert read_one(f"{target}/a.json").people.frame.tolist() == [0, 1]


def scores(store: Store, side: Side, truth: str, params: ScoreParams) -> tuple[object, list[object]]:
    """What `evaluate` computes, without its Prefect and Dask: pooled, and video by video."""
    truths = [one for uri in find_documents(truth) for one in import_truth(store, uri)]
    scored = [score_video(store, one, results, params) for one, results in matched(truths, side, truth, is_all=True)]
    found = evaluation_of(side, Scoring.read(store, scored), truth, params)
    return found.values, list(found.by_video.values())


def assert_scores_the_same(store: Store, truth: str, target: str) -> None:
    """Assert that what is exported to `target` gets the scores, exactly, that the results get."""
    for format_ in ("posetrack18", "posetrack17"):
        files = f"{target}/{format_}"
        list(export(store, None, format_, files))
        of_files = side_of_files(files, [one for uri in find_documents(files) for one in read_predictions(uri)], [])
        for params in (ScoreParams(), ScoreParams(protocol="strict", keypoint_threshold=0.5)):
            expected = scores(store, side_of_store(store, None, []), truth, params)
            assert expected[0]
            assert json.dumps(scores(store, of_files, truth, params)) == json.dumps(expected)


@pytest.mark.parametrize("skeleton", [COCO_17, POSETRACK_15], ids=lambda skeleton: skeleton.name)
def test_exports_score_as_the_results_do(skeleton: Skeleton, tmp_path: Path) -> None:
    store, truth = Store(str(tmp_path / "out")), tmp_path / "truth"
    truth.mkdir()
    placed = [(t, n, 80.0 + 90 * n + 4 * t) for t in range(8) if t != 5 for n in range(3)]
    for name in ("000001_bonn_test", "000002_mpii_test"):
        true = people(name, 8, *placed, skeleton=POSETRACK_15, names=tuple(f"images/{name}/{t:06d}.jpg" for t in range(8)))
        (truth / f"{name}.json").write_text(json.dumps(posetrack18.write(true)))
    missed = [(t, n, x + 5 * (t % 3)) for t, n, x in placed if (t, n) != (3, 1)]
    annotated(store, *((of_file(path.stem), people(path.stem, 8, *missed, skeleton=skeleton)) for path in truth.iterdir()))
    assert_scores_the_same(store, str(truth), str(tmp_path / "files"))


@needs_bonn
def test_exports_of_real_sequences_score_as_the_results_do(tmp_path: Path) -> None:
    store, truth = Store(str(tmp_path / "out")), tmp_path / "truth"
    truth.mkdir()
    files = sorted((BONN / "pred").glob("*.json"))[3:5]
    for path in files:
        (truth / path.name).symlink_to(BONN / "gt" / path.name)
    annotated(store, *((Source(str(path), "poses"), read_one(str(path))) for path in files))
    assert_scores_the_same(store, str(truth), str(tmp_path / "files"))
