"""embed, track, paths and refine on real frames with heads of random weights: their tables, against the plain formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from storage.codecs import candidates_from_table, features_from_table, list_array, list_column, poses_from_table
from storage.parquet import parquet_bytes
from storage.schemas import CANDIDATES
from storage.store import Store
from storage.video import decode
from tasks import detect, embed, estimate, index, paths, publish, refine, suppress, track, trained
from tasks.execute import timeline
from tasks.plan import VideoPlan
from tasks.stage import Block
from tests.conftest import DEMO_CLIP, plan_of, run_all
from tests.heads import on_this_machine, save_random_head
from tests.tkm.plain_formulas import classify
from tkm import weights
from tkm.networks import runtime
from tkm.networks.heads import load_head, save_head
from tkm.quantisation import dequantise
from tkm.similarity import pose_similarity
from tkm.skeleton import COCO_17
from tkm.types import FeatureSet, PoseSet
from tkm.weights import WeightsError

K, S, TAU, FRAMES = 17, 1 + CANDIDATES, 2, 6


@dataclass(frozen=True)
class Scene:
    """The first frames of the bundled clip as stages see them, digests of heads, and what embed makes of both."""

    block: Block
    digests: Mapping[str, str]
    poses: PoseSet
    features: FeatureSet

    def with_inputs(self, **inputs: pa.Table) -> Block:
        block = self.block
        return Block(block.frames, block.pts_ns, (), {**block.inputs, **inputs}, block.input_params)

    def params(self, *kinds: str) -> dict[str, str]:
        return {kind: self.digests[kind] for kind in kinds}


@pytest.fixture(scope="module")
def scene(short_run: VideoPlan, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("heads")
    heads = {
        kind: on_this_machine(save_random_head(folder / kind, kind, tau=TAU)) for kind in ("matching", "body", "refinement")
    }
    line = timeline(short_run)
    images = tuple(image for _, image in decode(short_run.source, line.info, line.frames[:FRAMES]))
    tables = {stage.name: short_run.artifact(stage).read() for stage in (estimate.STAGE, suppress.STAGE)}
    first = {name: table.filter(pa.compute.less(table["frame"], FRAMES)) for name, table in tables.items()}
    first["estimate"] = with_fewer_candidates(first["estimate"])
    used = {"estimate": short_run.params["estimate"], "paths": paths.PathsParams(tau=TAU, matching=heads["matching"])}
    block = Block(line.frames[:FRAMES], line.pts_ns[:FRAMES], images, first, used)
    embedded = embed.STAGE.checked(embed.run(block, embed.EmbedParams(**heads)))
    people = first["estimate"].filter(first["suppress"]["is_kept"])
    assert embedded.select(["frame", "detection"]).equals(people.select(["frame", "detection"]))
    block = Block(block.frames, block.pts_ns, images, {**first, "embed": embedded}, used)
    return Scene(block, heads, poses_from_table(people, COCO_17), features_from_table(embedded, K))


def with_fewer_candidates(table: pa.Table) -> pa.Table:
    """The table of estimate, but for elbows, whose heatmaps then had five maxima only."""
    elbow = COCO_17.keypoints.index("left_elbow")
    cell, xy_px = list_column(table, "candidate_cell", K, CANDIDATES), list_column(table, "candidate_xy_px", K, CANDIDATES, 2)
    cell[:, elbow, 5:], xy_px[:, elbow, 5:] = -1, np.nan
    for name, values in (("candidate_cell", cell), ("candidate_xy_px", xy_px)):
        table = table.set_column(table.column_names.index(name), table.schema.field(name), list_array(values))
    return table


def kept(scene: Scene) -> pa.Table:
    return scene.block.inputs["estimate"].filter(scene.block.inputs["suppress"]["is_kept"])


def maps(scene: Scene, of: Callable[[tuple[torch.Tensor, ...]], torch.Tensor]) -> np.ndarray:
    """What a head's network makes of every survivor's crop, straight from the backbone's maps."""
    from storage.codecs import detections_from_table

    params = scene.block.input_params["estimate"]
    features = estimate.backbone_features(scene.block, detections_from_table(kept(scene)), params)  # type: ignore[arg-type]
    with torch.inference_mode():
        return of(features).numpy()


def everywhere(features: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Every cell of each crop, as places of one keypoint."""
    rows, columns = features[0].shape[2:]
    return torch.arange(rows * columns).expand(len(features[0]), 1, -1)


def test_embed_takes_features_and_scalars_at_the_cells_of_pose_and_candidates(scene: Scene) -> None:
    candidates = candidates_from_table(kept(scene), COCO_17)
    matching, refinement = trained.matching(scene.digests["matching"]), trained.refinement(scene.digests["refinement"])
    network = estimate.pose_network(scene.block.input_params["estimate"])  # type: ignore[arg-type]

    def all_scalars(features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        H = refinement.module.at(features, network.responses(features), everywhere(features))[:, 0]
        return torch.nn.functional.linear(H, refinement.response.weight[:, :, 0, 0]).mT

    F = maps(scene, lambda features: matching.at(features, everywhere(features))[:, 0])  # (P, cells, D)
    a = maps(scene, all_scalars)  # (P, K, cells)
    assert scene.features.feature is not None
    assert scene.features.feature_step is not None
    assert scene.features.scalar is not None
    vectors = dequantise(scene.features.feature, scene.features.feature_step)
    missing = 0
    for p, k, s in np.ndindex(len(scene.poses), K, S):
        cell = candidates.pose_cell[p, k] if s == 0 else candidates.cell[p, k, s - 1]
        if cell < 0:
            missing += 1
            assert not vectors[p, k, s].any()
            assert np.isnan(scene.features.scalar[p, k, s])
        else:
            np.testing.assert_allclose(vectors[p, k, s], F[p, cell], atol=0.51 * scene.features.feature_step[p, k, s] + 1e-5)
            np.testing.assert_allclose(scene.features.scalar[p, k, s], a[p, k, cell], rtol=1e-4, atol=1e-4)
    assert missing == len(scene.poses) * (CANDIDATES - 5)


def test_embed_pools_bodies_over_the_crop(scene: Scene) -> None:
    vector = maps(scene, trained.body(scene.digests["body"]).vector)
    assert scene.features.body is not None
    assert scene.features.body_step is not None
    pooled = dequantise(scene.features.body, scene.features.body_step)
    np.testing.assert_allclose(pooled, vector, atol=0.51 * float(scene.features.body_step.max()) + 1e-5)


def test_features_are_the_same_from_estimates_pass_and_from_a_pass_of_their_own(scene: Scene) -> None:
    block = scene.block
    pending = frozenset({"suppress", "embed"})
    detections = block.inputs["estimate"].select(["frame", "detection", "box_x1", "box_y1", "box_x2", "box_y2", "box_score"])
    shared = Block(block.frames, block.pts_ns, block.images, {"detect": detections}, {}, pending=pending)
    estimate.run(shared, block.input_params["estimate"])  # type: ignore[arg-type]
    assert len(shared.shared["features"][0]) == detections.num_rows
    again = Block(block.frames, block.pts_ns, (), block.inputs, block.input_params, shared=shared.shared)
    params = embed.EmbedParams(**scene.digests)
    assert parquet_bytes(embed.run(again, params)) == parquet_bytes(block.inputs["embed"])  # NaNs, too


def test_embed_leaves_out_what_no_head_is_there_for(scene: Scene) -> None:
    table = embed.run(scene.block, embed.EmbedParams(**scene.params("body")))
    assert table["feature"].null_count == table["feature_scale"].null_count == table["refinement_scalar"].null_count == len(table)
    assert table["body_feature"].equals(scene.block.inputs["embed"]["body_feature"])


def similarity(scene: Scene, later: int, earlier: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of two frames' people and Eq. 5 between them, pair by pair and keypoint by keypoint from [f ; f'], in float64."""
    rows = [np.flatnonzero(scene.poses.frame == frame) for frame in (later, earlier)]
    assert scene.features.feature is not None
    assert scene.features.feature_step is not None
    f = dequantise(scene.features.feature, scene.features.feature_step)[:, :, 0].astype(np.float64)
    overlap = pose_similarity("iou", scene.poses.take(rows[0]), scene.poses.take(rows[1]), iou_gate=0)
    plain = np.zeros((len(rows[0]), len(rows[1])))
    for i, j in np.ndindex(*plain.shape):
        if overlap[i, j] >= 0.1:
            plain[i, j] = sum(G(scene, k, f[rows[0][i], k], f[rows[1][j], k]) for k in range(K))
    return rows[0], rows[1], plain


def G(scene: Scene, k: int, later: np.ndarray, earlier: np.ndarray) -> float:  # noqa: N802 - the paper's name
    return classify(trained.classifiers(scene.digests["matching"], "matching"), k, later, earlier)


def test_paths_step_to_the_most_similar_person_of_the_next_frame(scene: Scene) -> None:
    params = scene.block.input_params["paths"]
    table = paths.STAGE.checked(paths.run(scene.with_inputs(), params))  # type: ignore[arg-type]
    backward, forward = (list_column(table, name, TAU) for name in ("backward", "forward"))
    step: dict[tuple[int, int], int] = {}  # (row, -1 or 1) -> row
    for earlier, later in pairwise(range(FRAMES)):
        now, before, plain = similarity(scene, later, earlier)
        for i, j in zip(now, before[plain.argmax(axis=1)], strict=True):
            if plain[list(now).index(i)].max() > 0:
                step[int(i), -1] = int(j)
        for j, i in zip(before, now[plain.argmax(axis=0)], strict=True):
            if plain[:, list(before).index(j)].max() > 0:
                step[int(j), 1] = int(i)
    lengths = set()
    for row in range(len(scene.poses)):
        for way, found in ((-1, backward), (1, forward)):
            expected, here = [], row
            for _ in range(TAU):
                here = step.get((here, way), -1)
                expected.append(-1 if here < 0 else int(scene.poses.detection[here]))
            assert found[row].tolist() == expected
            lengths.add(sum(number >= 0 for number in expected))
    assert lengths == {0, 1, 2}


def test_no_path_crosses_a_cut(scene: Scene) -> None:
    is_first = [frame in (0, 3) for frame in range(FRAMES)]
    shots = pa.table({"frame": range(FRAMES), "is_first": is_first})
    table = paths.run(scene.with_inputs(shots=shots), scene.block.input_params["paths"])  # type: ignore[arg-type]
    rows = table.to_pandas()
    assert all((step[0] < 0) for step in rows[rows.frame == 3].backward)
    assert all((step[0] < 0) for step in rows[rows.frame == 2].forward)
    assert any((step[0] >= 0) for step in rows[rows.frame == 2].backward)


def refined(scene: Scene, tau: int, divisor: str = "window", core: tuple[int, int] | None = None) -> tuple[pa.Table, pa.Table]:
    """Tables of paths and refine of the scene."""
    chosen = paths.PathsParams(tau=tau, matching=scene.digests["matching"])
    table = paths.run(scene.with_inputs(), chosen)
    block = scene.with_inputs(paths=table) if tau else scene.with_inputs()
    block = Block(block.frames, block.pts_ns, (), block.inputs, {"paths": chosen}, core=core)
    params = refine.RefineParams(on=True, divisor=divisor, **scene.params("matching", "refinement"))  # type: ignore[arg-type]
    return table, refine.STAGE.checked(refine.run(block, params))


@pytest.mark.parametrize(("tau", "divisor"), [(TAU, "window"), (TAU, "weights"), (0, "window")])
def test_refine_is_eq_6_and_takes_the_place_of_the_highest_response(scene: Scene, tau: int, divisor: str) -> None:
    along, table = refined(scene, tau, divisor)
    candidates = candidates_from_table(kept(scene), COCO_17)
    assert scene.features.feature is not None
    assert scene.features.feature_step is not None
    assert scene.features.scalar is not None
    F = dequantise(scene.features.feature, scene.features.feature_step).astype(np.float64)
    a = scene.features.scalar.astype(np.float64)
    bias = trained.refinement(scene.digests["refinement"]).bias.detach().numpy().astype(np.float64)
    row_of = {(int(f), int(d)): row for row, (f, d) in enumerate(zip(scene.poses.frame, scene.poses.detection, strict=True))}
    place, score, xy = (list_column(table, name, K, *rest) for name, rest in (("place", ()), ("score", ()), ("xy_px", (2,))))
    moved = 0
    for row in range(0, len(scene.poses), 3):
        t = int(scene.poses.frame[row])
        counterparts = []
        for way, name in ((-1, "backward"), (1, "forward")):
            numbers = list_column(along, name, tau)[row].tolist()
            counterparts += [(t + way * (j + 1), number) for j, number in enumerate(numbers) if number >= 0]
        assert table["counterparts"][row].as_py() == len(counterparts)
        for k in (0, 4, 7, 13):
            response = np.full(S, np.nan)
            for s in range(S):
                total, weights = a[row, k, s], 1.0
                for frame, number in counterparts:
                    other = row_of[frame, number]
                    pair = (F[row, k, s], F[other, k, 0]) if t > frame else (F[other, k, 0], F[row, k, s])
                    W = G(scene, k, *pair)
                    total, weights = total + W * a[other, k, 0], weights + W
                response[s] = total / (2 * tau + 1 if divisor == "window" else weights) + bias[k]
            best = int(np.nanargmax(response))
            np.testing.assert_allclose(score[row, k], response[best], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(response[place[row, k]], response[best], rtol=1e-5, atol=1e-6)
            expected = scene.poses.xy_px[row, k] if place[row, k] == 0 else candidates.xy_px[row, k, place[row, k] - 1]
            assert xy[row, k].tolist() == expected.tolist()
            moved += int(place[row, k] != 0)
    assert moved, "a head that knows nothing moves some keypoint"


def test_refine_answers_for_its_own_frames_with_the_halos_support(scene: Scene) -> None:
    _, whole = refined(scene, TAU)
    _, part = refined(scene, TAU, core=(2, 4))
    assert part.equals(whole.filter(pa.compute.is_in(whole["frame"], pa.array([2, 3]))))


def test_track_by_learned_similarity_goes_on_over_chunks(scene: Scene) -> None:
    for similarity, kind in (("tkm", "matching"), ("tbm", "body")):
        params = track.TrackParams(similarity=similarity, head=scene.digests[kind])
        whole, _ = track.run(scene.with_inputs(), params, None)
        ids, state = [], None
        for low in range(0, FRAMES, 2):
            inputs = {
                name: table.filter(pa.compute.is_in(table["frame"], pa.array([low, low + 1])))
                for name, table in scene.block.inputs.items()
            }
            block = Block(scene.block.frames[low : low + 2], scene.block.pts_ns[low : low + 2], (), inputs)
            table, state = track.run(block, params, state)
            ids.append(table)
        assert pa.concat_tables(ids).equals(whole)
        assert len(whole["track_id"].unique()) < len(whole) / 3


def test_published_rows_have_the_refined_pose_and_the_one_before(scene: Scene) -> None:
    _, table = refined(scene, TAU)
    tracked, _ = track.run(scene.with_inputs(), track.TrackParams(similarity="oks"), None)
    rows = publish.STAGE.checked(publish.run(scene.with_inputs(track=tracked, refine=table), publish.PublishParams())).to_pandas()
    last = rows.iloc[-1]
    at = table.to_pandas().query("frame == @last.frame and detection == @last.detection").iloc[0]
    before = kept(scene).to_pandas().query("frame == @last.frame and detection == @last.detection").iloc[0]
    for k, joint in enumerate(COCO_17.keypoints):
        assert last[[f"{joint}_x", f"{joint}_y", f"{joint}_score"]].tolist() == [*at.xy_px[2 * k : 2 * k + 2], at.score[k]]
        assert last[[f"{joint}_initial_x", f"{joint}_initial_y"]].tolist() == before.xy_px[2 * k : 2 * k + 2].tolist()
        assert last[f"{joint}_initial_score"] == before.score[k]


@pytest.mark.parametrize("name", ["embed", "paths", "refine"])
def test_frames_without_people_have_no_rows(scene: Scene, name: str) -> None:
    empty = {input_: table.slice(0, 0) for input_, table in scene.block.inputs.items()}
    block = Block(scene.block.frames, scene.block.pts_ns, scene.block.images, empty, scene.block.input_params)
    stages = {"embed": embed.EmbedParams(**scene.digests), "paths": scene.block.input_params["paths"], "refine": None}
    params = stages[name] or refine.RefineParams(on=True, **scene.params("matching", "refinement"))
    module = {"embed": embed, "paths": paths, "refine": refine}[name]
    assert module.STAGE.checked(module.run(block, params)).num_rows == 0  # type: ignore[arg-type]


def test_chunks_and_threads_change_no_bit_of_what_heads_make(refined_run: VideoPlan, tmp_path: Path) -> None:
    again = replace(refined_run, store=Store(str(tmp_path)))
    run_all(again, chunk_frames=3, threads=1)
    for stage in (embed.STAGE, track.STAGE, paths.STAGE, refine.STAGE, publish.STAGE):
        once, other = (parquet_bytes(plan.artifact(stage).read().combine_chunks()) for plan in (refined_run, again))
        assert once == other, stage.name


def test_a_first_run_takes_every_crop_through_the_backbone_once(refined_run: VideoPlan, tmp_path: Path) -> None:
    params = refined_run.params["estimate"]
    network = estimate.pose_network(params).keypoints  # type: ignore[arg-type]
    crops = []
    hook = network.backbone.register_forward_hook(lambda _, inputs, __: crops.append(len(inputs[0])))  # type: ignore[attr-defined]
    try:
        plan = plan_of(Store(str(tmp_path)), DEMO_CLIP, {**refined_run.params, "index": index.IndexParams(frames=":2")})
        run_all(plan)
    finally:
        hook.remove()
    assert plan.artifact(embed.STAGE).manifest() is not None
    assert sum(crops) == plan.artifact(detect.STAGE).read().num_rows


@pytest.mark.parametrize("kind", ["matching", "body", "refinement"])
def test_a_head_that_answers_with_what_is_no_number_is_named(scene: Scene, kind: str, tmp_path: Path) -> None:
    head, facts = load_head(weights.locate(scene.digests[kind]), kind)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in head.module.parameters():  # type: ignore[union-attr, operator]
            parameter.mul_(1e30)  # finite itself, but no product of two
    save_head(tmp_path / "broken", head, facts)
    with pytest.raises(WeightsError, match=f"{kind} head .* not finite"):
        embed.run(scene.block, embed.EmbedParams(**{kind: on_this_machine(tmp_path / "broken")}))


def test_keypoints_are_weighed_by_confidence_only_where_keypoints_are_summed() -> None:
    with pytest.raises(ValidationError, match="by_confidence"):
        track.TrackParams(similarity="oks", by_confidence=True)


def test_heads_say_the_same_on_a_gpu(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: what runs on one is compared with the CPU only there")
    found = {}
    caches = runtime.device, runtime.on_device, estimate._network, trained._built
    for kind in ("cuda", "cpu"):
        for cached in caches:
            cached.cache_clear()
        monkeypatch.setattr(torch.cuda, "is_available", lambda kind=kind: kind == "cuda")
        table = embed.run(scene.block, embed.EmbedParams(**scene.digests))
        own = replace(scene, features=features_from_table(table, K))
        own.block.inputs["embed"] = table  # type: ignore[index]
        found[kind] = own.features, refined(own, TAU)[1]
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()
    (gpu, gpu_refined), (cpu, cpu_refined) = found["cuda"], found["cpu"]
    f = [dequantise(own.feature, own.feature_step) for own in (gpu, cpu)]  # type: ignore[arg-type]
    assert np.abs(f[0] - f[1]).max() < 0.02 * np.abs(f[1]).max()
    scale = np.nanmax(np.abs(cpu.scalar))
    np.testing.assert_allclose(gpu.scalar, cpu.scalar, atol=0.02 * scale)
    scores = [list_column(table, "score", K) for table in (gpu_refined, cpu_refined)]
    np.testing.assert_allclose(scores[0], scores[1], atol=0.02 * scale)
