"""Each stage on real frames: what its table promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from storage.codecs import list_column, poses_from_table
from storage.schemas import CANDIDATES
from storage.sources import Source
from storage.video import decode, probe
from tasks import detect, estimate, publish, suppress, track
from tasks.plan import VideoPlan
from tasks.stage import Block
from tkm.skeleton import COCO_17

K = len(COCO_17.keypoints)


@pytest.fixture(scope="module")
def block(demo_clip: Path) -> Block:
    """Two frames of the bundled clip."""
    source = Source(str(demo_clip))
    info = probe(source)
    numbers = np.array([0, 30])
    images = tuple(image for _, image in decode(source, info, numbers))
    return Block(numbers, info.pts_ns[numbers], images, {})


def with_inputs(block: Block, **inputs: object) -> Block:
    return Block(block.frames, block.pts_ns, block.images, inputs)  # type: ignore[arg-type]


def empty_scene(frames: int = 2) -> Block:
    image = np.full((300, 400, 3), 90, np.uint8)
    return Block(np.arange(frames), np.arange(frames), (image,) * frames, {})


def test_detect_finds_the_people_and_numbers_them_by_falling_score(block: Block) -> None:
    table = detect.STAGE.checked(detect.run(block, detect.DetectParams())).to_pandas()
    assert set(table.frame) == {0, 30}
    for _, frame in table.groupby("frame"):
        assert len(frame) >= 2
        assert frame.detection.tolist() == list(range(len(frame)))
        assert frame.box_score.is_monotonic_decreasing
        assert (frame.box_x1 < frame.box_x2).all()
        assert frame[["box_x1", "box_x2"]].stack().between(0, 1088).all()
        assert frame[["box_y1", "box_y2"]].stack().between(0, 1920).all()


def test_a_higher_threshold_keeps_the_best_detections(block: Block) -> None:
    loose = detect.run(block, detect.DetectParams()).to_pandas()
    strict = detect.run(block, detect.DetectParams(score_threshold=0.5)).to_pandas()
    expected = loose[loose.box_score >= 0.5].reset_index(drop=True)
    assert np.array_equal(strict.to_numpy(), expected.to_numpy())


def test_an_empty_scene_goes_through_all_stages() -> None:
    scene = empty_scene()
    detections = detect.STAGE.checked(detect.run(scene, detect.DetectParams()))
    poses = estimate.STAGE.checked(estimate.run(with_inputs(scene, detect=detections), estimate.EstimateParams(heatmaps=True)))
    kept = suppress.STAGE.checked(suppress.run(with_inputs(scene, estimate=poses), suppress.SuppressParams()))
    inputs = {"estimate": poses, "suppress": kept}
    tracked, state = track.run(with_inputs(scene, **inputs), track.TrackParams(similarity="oks"), None)
    rows = publish.run(with_inputs(scene, **inputs, track=track.STAGE.checked(tracked)), publish.PublishParams())
    assert [table.num_rows for table in (detections, poses, kept, tracked, publish.STAGE.checked(rows), state)] == [0] * 6


def test_estimate_keeps_the_detections_order_and_places_keypoints_on_the_person(block: Block) -> None:
    detections = detect.run(block, detect.DetectParams(score_threshold=0.5))
    table = estimate.STAGE.checked(estimate.run(with_inputs(block, detect=detections), estimate.EstimateParams()))
    assert table.select(["frame", "detection"]).equals(detections.select(["frame", "detection"]))
    poses = poses_from_table(table, COCO_17)
    low, high = poses.box_xyxy_px[:, None, :2], poses.box_xyxy_px[:, None, 2:]
    inside = ((poses.xy_px >= low) & (poses.xy_px <= high)).all(axis=-1)
    assert inside.mean() > 0.9
    nose, ankle = COCO_17.keypoints.index("nose"), COCO_17.keypoints.index("left_ankle")
    assert (poses.xy_px[:, nose, 1] < poses.xy_px[:, ankle, 1]).all()


def test_candidates_are_the_heatmaps_highest_maxima(block: Block) -> None:
    detections = detect.run(block, detect.DetectParams(score_threshold=0.5))
    table = estimate.run(with_inputs(block, detect=detections), estimate.EstimateParams(heatmaps=True))
    response = list_column(table, "candidate_response", K, CANDIDATES)
    heatmap = np.stack([np.asarray(row, np.float32).reshape(K, -1) for row in table["heatmap"].to_pylist()])
    np.testing.assert_allclose(response[:, :, 0], heatmap.max(axis=-1), atol=1e-3)
    falling = np.diff(response, axis=-1)
    assert (falling[np.isfinite(falling)] <= 0).all()
    pose = poses_from_table(table, COCO_17)
    nearest = np.nanmin(
        np.linalg.norm(list_column(table, "candidate_xy_px", K, CANDIDATES, 2) - pose.xy_px[:, :, None], axis=-1), axis=-1
    )
    cell_px = 1.25 * (pose.box_xyxy_px[:, 2:] - pose.box_xyxy_px[:, :2]).max(axis=1) / 64
    assert np.median(nearest / cell_px[:, None]) < 1, "the pose stands at one of the candidates"


def test_greying_can_be_switched_off_and_matters(block: Block) -> None:
    detections = detect.run(block, detect.DetectParams(score_threshold=0.5))
    grey, plain = (
        poses_from_table(estimate.run(block, estimate.EstimateParams(grey_margin=margin)), COCO_17)
        for block in [with_inputs(block, detect=detections)]
        for margin in (0.05, None)
    )
    assert not np.array_equal(grey.xy_px, plain.xy_px)


def test_suppress_keeps_one_of_two_equal_people_and_drops_low_scores(short_run: VideoPlan) -> None:
    table = short_run.artifact(estimate.STAGE).read()
    sure = table.filter(table["box_score"].to_numpy() > 0.6)
    first = sure.slice(0, 1)
    twin = first.set_column(1, first.schema.field("detection"), [[99]])
    both = Block(np.array([0]), np.array([0]), (), {"estimate": pa.concat_tables([first, twin])})
    for method in ("pnms", "cnms"):
        kept = suppress.run(both, suppress.SuppressParams(method=method))
        assert kept["is_kept"].to_pylist() == [True, False]
    strict = suppress.run(both, suppress.SuppressParams(min_pose_score=0.99))
    assert strict["is_kept"].to_pylist() == [False, False]


def test_published_rows_are_the_survivors_in_order(short_run: VideoPlan) -> None:
    rows = short_run.artifact(publish.STAGE).read().to_pandas()
    assert rows.equals(rows.sort_values(["frame", "track_id"], ignore_index=True))
    kept = short_run.artifact(suppress.STAGE).read().to_pandas().query("is_kept")
    assert len(rows) == len(kept)
    poses = short_run.artifact(estimate.STAGE).read().to_pandas().set_index(["frame", "detection"])
    last = rows.iloc[-1]
    expected = poses.loc[(last.frame, last.detection)]
    wrist = COCO_17.keypoints.index("left_wrist")
    assert last.left_wrist_x == expected.xy_px[2 * wrist]
    assert last.left_wrist_y == expected.xy_px[2 * wrist + 1]
    assert last.left_wrist_score == expected.score[wrist]
    assert last.box_x1 == expected.box_x1


def test_a_stage_that_breaks_its_schema_is_named(block: Block) -> None:
    table = detect.run(block, detect.DetectParams())
    with pytest.raises(TypeError, match=r"detect.*box_score"):
        detect.STAGE.checked(table.drop_columns(["box_score"]))


def test_a_block_with_too_few_images_is_refused(block: Block) -> None:
    with pytest.raises(ValueError, match="images"):
        Block(block.frames, block.pts_ns, block.images[:1], {})
