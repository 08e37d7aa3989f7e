"""Samples of a run on the bundled clip: who people truly are, where their keypoints stand, what the frozen network sees there."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from storage.codecs import candidates_from_table, features_from_table, poses_from_table
from storage.samples import samples_from_table, samples_to_table
from storage.store import Store
from storage.video import decode
from tasks import embed, estimate, suppress
from tasks.evaluation import Refused, import_truth
from tasks.execute import timeline
from tasks.plan import VideoPlan
from tasks.samples import SampleSet, make_samples, sample_key
from tasks.stage import Block
from tasks.truth import Truth
from tests.conftest import DEMO_CLIP
from tests.heads import on_this_machine, save_random_head
from tkm.geometry import crops_around
from tkm.networks.heads import load_head
from tkm.networks.reduced import MATCHING_INPUTS
from tkm.quantisation import dequantise
from tkm.skeleton import COCO_17
from tkm.training.samples import OWN, TRUE, Samples
from tkm.types import PoseSet
from tkm.weights import locate

pytestmark = pytest.mark.usefixtures("one_thread")

CLIP_FRAMES = 100
SHIFT_PX = np.array([3.0, -2.0])


def truth_of(poses: PoseSet, track_id: np.ndarray, shift_px: np.ndarray = SHIFT_PX, name: str = "cam01") -> dict[str, Any]:
    """PoseTrack's form with COCO's keypoints, of people found, everybody's keypoints shifted; every third is hidden."""
    images = [
        {"id": t, "vid_id": "1", "file_name": f"images/{name}/{t:06d}.jpg", "is_labeled": True} for t in range(CLIP_FRAMES)
    ]
    annotations = []
    visibility = np.where(np.arange(17) % 3 == 2, 1.0, 2.0)
    for row, (frame, box) in enumerate(zip(poses.frame, poses.box_xyxy_px.astype(float), strict=True)):
        keypoints = np.concatenate([poses.xy_px[row] + shift_px, visibility[:, None]], axis=1)
        annotations.append({
            "id": row, "image_id": int(frame), "category_id": 1, "track_id": int(track_id[row]),
            "keypoints": keypoints.flatten().tolist(),
            "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
        })  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints)}
    return {"images": images, "annotations": annotations, "categories": [category]}


def survivors(plan: VideoPlan) -> Any:
    kept = plan.artifact(suppress.STAGE).read(["is_kept"])["is_kept"]
    return plan.artifact(estimate.STAGE).read().filter(kept)


@pytest.fixture(scope="module")
def run(short_run: VideoPlan, tmp_path_factory: pytest.TempPathFactory) -> VideoPlan:
    """The run on the first frames of the clip, in a store of its own."""
    root = tmp_path_factory.mktemp("samples") / "store"
    shutil.copytree(short_run.store.root, root)
    return replace(short_run, store=Store(str(root)))


@pytest.fixture(scope="module")
def true(run: VideoPlan, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    poses = poses_from_table(survivors(run), COCO_17)
    return imported(run, tmp_path_factory.mktemp("truth") / "cam01.json", truth_of(poses, numbered(poses)))


def numbered(poses: PoseSet) -> np.ndarray:
    """Track ids by where people stand from left to right: in this clip nobody passes another in twenty frames."""
    left = poses.box_xyxy_px[:, 0]
    return np.array([np.sum(left[poses.frame == frame] < x) + 4 for frame, x in zip(poses.frame, left, strict=True)])


def imported(run: VideoPlan, path: Path, document: dict[str, Any]) -> Truth:
    path.write_text(json.dumps(document))
    found = import_truth(run.store, str(path))
    assert not isinstance(found, Refused)
    return found[0]


@pytest.fixture(scope="module")
def made(run: VideoPlan, true: Truth) -> tuple[SampleSet, Samples]:
    found = make_samples(run, true)
    assert isinstance(found, SampleSet)
    return found, found.read()


def test_every_survivor_is_the_true_person_that_it_stands_on(run: VideoPlan, made: tuple[SampleSet, Samples]) -> None:
    own, samples = made
    poses = poses_from_table(survivors(run), COCO_17)
    assert own.people == len(samples) == len(poses)
    assert samples.frame.tolist() == poses.frame.tolist()
    assert samples.track_id.tolist() == numbered(poses).tolist()
    assert (samples.visibility == np.where(np.arange(17) % 3 == 2, 1, 2)).all()


def test_true_cells_are_where_the_truth_is(run: VideoPlan, made: tuple[SampleSet, Samples]) -> None:
    samples = made[1]
    poses = poses_from_table(survivors(run), COCO_17)
    xy_px = poses.xy_px + SHIFT_PX
    crops = crops_around(poses.box_xyxy_px, 1.0, run.params["estimate"].crop_scale)  # type: ignore[attr-defined]
    np.testing.assert_allclose(samples.xy_cells, crops.to_crop(xy_px.astype(np.float32)) * 64, atol=1e-2)
    cell = samples.cell[:, :, TRUE]
    inside = cell >= 0
    middle = np.stack([cell % 64, cell // 64], axis=-1) + 0.5
    assert np.abs(middle - samples.xy_cells)[inside].max() <= 0.51
    assert inside.mean() > 0.95
    outside = ((samples.xy_cells < 0) | (samples.xy_cells >= 64)).any(axis=-1)
    assert (inside == ~outside).all()


def test_other_places_are_the_poses_own_and_the_candidates(run: VideoPlan, made: tuple[SampleSet, Samples]) -> None:
    candidates = candidates_from_table(survivors(run), COCO_17)
    assert (made[1].cell[:, :, OWN] == candidates.pose_cell).all()
    assert (made[1].cell[:, :, OWN + 1 :] == candidates.cell).all()


@pytest.mark.parametrize("kind", ["matching", "body", "refinement"])
def test_heads_see_in_samples_what_embed_shows_them(
    run: VideoPlan, made: tuple[SampleSet, Samples], kind: str, tmp_path: Path
) -> None:
    digest = on_this_machine(save_random_head(tmp_path / kind, kind))  # type: ignore[arg-type]
    head: Any = load_head(locate(digest), kind)[0]  # type: ignore[arg-type]
    rows = np.flatnonzero(made[1].frame < 2)
    line = timeline(run)
    images = tuple(image for _, image in decode(run.source, line.info, line.frames[:2]))
    whole = {stage.name: run.artifact(stage).read() for stage in (estimate.STAGE, suppress.STAGE)}
    first = {name: table.filter(pc.less(table["frame"], 2)) for name, table in whole.items()}
    block = Block(line.frames[:2], line.pts_ns[:2], images, first, run.params)
    features = features_from_table(embed.run(block, embed.EmbedParams(**{kind: digest})), 17)
    cell = torch.from_numpy(made[1].cell[rows][:, :, OWN:])
    inputs = torch.from_numpy(made[1].inputs[rows][:, :, OWN:]).float()
    with torch.no_grad():
        if kind == "matching":
            expected = dequantise(features.feature, features.feature_step)  # type: ignore[arg-type]
            found = head.module(inputs[..., :MATCHING_INPUTS]).masked_fill((cell < 0)[..., None], 0).numpy()
        elif kind == "body":
            expected = dequantise(features.body, features.body_step)  # type: ignore[arg-type]
            found = head.module(torch.from_numpy(made[1].body[rows]).float()).mean(dim=1).numpy()
        else:
            expected = np.nan_to_num(features.scalar)  # type: ignore[arg-type]
            found = head.project(head.module(inputs)).masked_fill(cell < 0, 0).numpy()
    np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max())  # int8 against half precision


def test_the_same_again_computes_nothing_and_another_truth_is_another_artifact(
    run: VideoPlan, true: Truth, made: tuple[SampleSet, Samples], tmp_path: Path
) -> None:
    folder = Path(run.store.root)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*samples*/**/*") if path.is_file()}
    assert before
    again = make_samples(run, true)
    assert again == made[0]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*samples*/**/*") if path.is_file()} == before
    poses = poses_from_table(survivors(run), COCO_17)
    other = imported(run, tmp_path / "cam01.json", truth_of(poses, numbered(poses), SHIFT_PX * 2))
    assert sample_key(run, other) != sample_key(run, true)


def test_a_table_of_samples_gives_back_what_was_put_into_it(made: tuple[SampleSet, Samples]) -> None:
    samples = made[1]
    shapes = samples.inputs.shape[1:], samples.body.shape[1:]
    own = samples_from_table(samples_to_table(samples), 17, samples.cell.shape[2], *shapes)
    for name in ("frame", "track_id", "cell", "xy_cells", "visibility", "inputs", "body"):
        np.testing.assert_array_equal(getattr(own, name), getattr(samples, name))


def test_truth_of_another_length_or_without_track_ids_is_refused(run: VideoPlan, tmp_path: Path) -> None:
    poses = poses_from_table(survivors(run), COCO_17)
    document = truth_of(poses, numbered(poses))
    short = {**document, "images": document["images"][:30]}
    found = make_samples(run, imported(run, tmp_path / "short.json", short))
    assert isinstance(found, Refused)
    assert "has 100 frames" in found.message
    assert "short.json" in found.message
    bare = [{name: value for name, value in one.items() if name != "track_id"} for one in document["annotations"]]
    found = make_samples(run, imported(run, tmp_path / "bare.json", {**document, "annotations": bare}))
    assert isinstance(found, Refused)
    assert "bare.json has nobody with a track id" in found.message


def test_a_video_that_was_replaced_is_refused(run: VideoPlan, true: Truth, tmp_path: Path) -> None:
    (tmp_path / "cam01.mp4").write_bytes(DEMO_CLIP.read_bytes() + b"more")
    other = replace(run, source=replace(run.source, uri=str(tmp_path / "cam01.mp4")), store=_empty_of_samples(run, tmp_path))
    found = make_samples(other, true)
    assert isinstance(found, Refused)
    assert "annotate it again" in found.message


def _empty_of_samples(run: VideoPlan, folder: Path) -> Store:
    shutil.copytree(run.store.root, folder / "store")
    for part in ("artifacts", "chunks", "manifests"):
        shutil.rmtree(folder / "store" / part / "samples", ignore_errors=True)
    return Store(str(folder / "store"))
