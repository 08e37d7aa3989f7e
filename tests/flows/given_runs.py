"""Runs on poses that are given, recorded and published as the flow does it, without Prefect, Dask and networks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from flows.groups import Group
from storage import runs, tables
from storage.given import given_of, write_given
from storage.sources import Source, content_digest
from storage.store import Store
from tasks import given, publish, suppress, track
from tasks.execute import run_frames, run_given, run_in_order, run_index
from tasks.heads import with_weights
from tasks.index import IndexParams
from tasks.merge import merge
from tasks.pipeline import PIPELINE
from tasks.plan import VideoPlan, plan_video
from tkm.datasets.sequence import People, Sequence
from tkm.skeleton import COCO_17, Skeleton


def people(
    name: str, T: int, *placed: tuple[int, int, float], skeleton: Skeleton = COCO_17, names: tuple[str, ...] = ()
) -> Sequence:
    """A video of T frames with people of 60 x 150 px, one a (frame, track id, x); their ears and left wrist are not given."""
    K, P = len(skeleton.keypoints), len(placed)
    rng = np.random.default_rng(K)
    shape = rng.uniform(-1, 1, (K, 2)) * [30, 75]
    shape[[skeleton.keypoints.index(joint) for joint in ("left_wrist", "left_ear") if joint in skeleton.keypoints]] = np.nan
    x = np.array([row[2] for row in placed])
    xy_px = shape + np.stack([x, np.full(P, 100.0)], axis=1)[:, None]
    return Sequence(
        name=name, skeleton=skeleton, frame_names=names or ("",) * T, image_id=np.full(T, -1), is_labeled=np.ones(T, np.bool_),
        size_px=np.full((T, 2), 640), ignore_regions=((),) * T,
        people=People(
            frame=np.array([row[0] for row in placed], np.int64), track_id=np.array([row[1] for row in placed], np.int64),
            score=rng.uniform(0.5, 1, P), box_xyxy_px=np.full((P, 4), np.nan),
            head_xyxy_px=np.stack([x - 12, np.full(P, 20.0), x + 12, np.full(P, 60.0)], axis=1), area_px2=np.full(P, 9000.0),
            is_crowd=np.zeros(P, np.bool_), xy_px=xy_px, keypoint_score=rng.uniform(0.3, 1, (P, K)),
            visibility=np.full((P, K), -1, np.int8),
        ),
    )  # fmt: skip


def planned(store: Store, source: Source, sequence: Sequence, every: int = 1) -> VideoPlan:
    """All stages run on poses that are given for a video, or that stand for one."""
    of_file = source.kind == "poses"
    sha256 = write_given(store, given_of(sequence, "poses", len(sequence)), sequence if of_file else None)
    params = {stage.name: stage.Params() for stage in PIPELINE}
    params |= {"poses": given.GivenParams(sha256=sha256), "index": IndexParams(every=every)}
    plan = plan_video(store, source, sha256 if of_file else content_digest(source), with_weights(params, {}))

    def report(*_: object) -> None:
        pass

    stop = run_index(plan, report)
    run_given(plan, given.POSES, report=report)
    run_frames(plan, [suppress.STAGE], 0, stop, chunk_frames=64, threads=1, report=report)
    run_in_order(plan, track.STAGE, chunk_frames=64, report=report)
    run_frames(plan, [publish.STAGE], 0, stop, chunk_frames=64, threads=1, report=report)
    return plan


def annotated(store: Store, *videos: tuple[Source, Sequence], every: int = 1) -> str:
    """A run, as the flow records and publishes it, of videos whose poses are given; its id."""
    plans = [planned(store, source, sequence, every) for source, sequence in videos]
    run = runs.new_run(store)
    tables.create_tables(store)
    runs.start_run(store, run, {})
    for shard in {plan.shard for plan in plans}:
        group = Group(f"{shard:02d}", shard, (), tuple(plan for plan in plans if plan.shard == shard))
        runs.write_plan(store, run, group.name, group.plan_rows())
        merge(store, run, shard, group.finished())
    return run


def of_file(name: str) -> Source:
    return Source(f"/poses.json#{name}", "poses")


def pictures(folder: Path, count: int) -> Source:
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{8 + number}_a.png"), np.full((64, 64, 3), number, np.uint8))
    return Source(str(folder), "frames")
