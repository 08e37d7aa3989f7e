"""Where weights go: into the keys of the stages that use them and no others; what is missing or does not fit is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from storage.sources import Source
from storage.store import Store
from tasks.given import GivenParams
from tasks.heads import HeadsError, Role, check_weights, digests_of, unused, with_other_weights, with_weights
from tasks.pipeline import PIPELINE
from tasks.plan import plan_video
from tasks.stage import Params
from tests.heads import MOVENET, save_random_head
from tkm import weights
from tkm.weights import WeightsError

ALL: dict[Role, str] = {role: digit * 64 for role, digit in (("matching", "1"), ("body", "2"), ("refinement", "3"))}  # type: ignore[misc]
OTHER = "9" * 64
OKS: dict[str, Any] = {"track": {"similarity": "oks"}}
UNREFINED: dict[str, Any] = {"refine": {"on": False}}


def params(**sections: Mapping[str, Any]) -> dict[str, Params]:
    return {stage.name: stage.Params(**sections.get(stage.name, {})) for stage in PIPELINE}


def digests_by_stage(found: Mapping[str, Params]) -> dict[str, set[str]]:
    """Stages that hold digests, and which."""
    held = {stage: {v for v in one.model_dump().values() if isinstance(v, str) and len(v) == 64} for stage, one in found.items()}
    return {stage: digests for stage, digests in held.items() if digests}


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (OKS | UNREFINED, {}),
        (UNREFINED, {"embed": {"matching"}, "track": {"matching"}}),
        ({"track": {"similarity": "tbm"}} | UNREFINED, {"embed": {"body"}, "track": {"body"}}),
        (OKS, {"embed": {"matching", "refinement"}, "paths": {"matching"}, "refine": {"matching", "refinement"}}),
        (OKS | {"paths": {"tau": 0}}, {"embed": {"refinement"}, "refine": {"refinement"}}),
        (
            {"track": {"similarity": "tbm"}},
            {
                "embed": {"matching", "body", "refinement"}, "track": {"body"}, "paths": {"matching"},
                "refine": {"matching", "refinement"},
            },
        ),
    ],
    ids=["nothing", "tkm alone", "tbm", "refine", "self-refinement", "tbm and refine"],
)  # fmt: skip
def test_digests_stand_where_they_are_used_and_nowhere_else(
    sections: dict[str, Any], expected: dict[str, set[Role]]
) -> None:
    placed = with_weights(params(**sections), ALL)
    assert digests_by_stage(placed) == {stage: {ALL[role] for role in roles} for stage, roles in expected.items()}
    used = set().union(*expected.values())
    assert digests_of(placed) == {role: digest for role, digest in ALL.items() if role in used}
    assert {note.split(" ")[0] for note in unused(placed, ALL)} == {f"--{role}-weights" for role in ALL.keys() - used}
    assert with_weights(placed, ALL) == placed


def changed_stages(sections: dict[str, Any], role: Role) -> set[str]:
    """Stages whose keys differ where one head is another."""
    store = Store("/nowhere")
    plans = [
        plan_video(store, Source("/a.mp4"), "content", with_weights(params(**sections), digests))
        for digests in (ALL, {**ALL, role: OTHER})
    ]
    assert plans[0].keys.keys() == plans[1].keys.keys()
    return {stage for stage, key in plans[0].keys.items() if plans[1].keys[stage] != key}


def test_another_head_computes_neither_detections_nor_heatmaps_again() -> None:
    everything = {"refine": {"on": True}, "track": {"similarity": "tkm"}}
    rest = {"embed", "track", "paths", "refine", "publish"}
    assert changed_stages(everything, "matching") == rest
    assert changed_stages(everything, "refinement") == rest, "what embed makes is one artifact"
    assert changed_stages(everything, "body") == set()
    assert changed_stages({"track": {"similarity": "tbm"}} | UNREFINED, "body") == {"embed", "track", "publish"}


@pytest.mark.parametrize("role", ["matching", "refinement"])
def test_tracks_by_poses_do_not_rest_on_heads(role: Role) -> None:
    assert changed_stages(OKS, role) == {"embed", "paths", "refine", "publish"}


@pytest.mark.parametrize(
    ("sections", "there", "said"),
    [
        ({"track": {"similarity": "tkm"}}, (), "--track-similarity tkm needs a matching head.*--matching-weights FILE"),
        ({"track": {"similarity": "tbm"}}, ("matching",), "tbm needs a body head.*--body-weights FILE"),
        ({"refine": {"on": True}}, ("matching",), "--refine needs a refinement head.*--refinement-weights FILE"),
        ({"refine": {"on": True}}, ("refinement",), "--refine with --paths-tau above 0 needs a matching head"),
        ({"refine": {"on": True}, "paths": {"tau": 0}}, ("matching",), "--refinement-weights FILE"),
        ({"track": {"by_confidence": True}}, (), "--track-similarity tkm needs a matching head"),
    ],
)
def test_a_head_that_is_missing_is_named_with_why_and_how(
    sections: dict[str, Any], there: tuple[Role, ...], said: str
) -> None:
    digests: dict[Role, str] = {"pose": OTHER, **{role: ALL[role] for role in there}}
    with pytest.raises(HeadsError, match=said) as caught:
        with_weights(params(**sections, estimate={"network": "hrnet-w48"}), digests)
    assert "trained for hrnet-w48" in str(caught.value)
    assert "none is embedded" in str(caught.value)
    assert "docs/training.md" in str(caught.value)


def test_by_default_the_embedded_heads_match_track_and_refine() -> None:
    found = with_weights(params(), {})
    matching, refinement = weights.digest("matching"), weights.digest("refinement")
    assert digests_by_stage(found) == {
        "embed": {matching, refinement}, "track": {matching}, "paths": {matching}, "refine": {matching, refinement},
    }  # fmt: skip
    tracked, refined = found["track"].model_dump(), found["refine"].model_dump()
    assert (tracked["similarity"], tracked["memory_frames"], refined["on"]) == ("tkm", 60, True)
    assert found["paths"].model_dump()["tau"] == 5
    body = with_weights(params(track={"similarity": "tbm"}, **UNREFINED), {})
    assert digests_by_stage(body) == {stage: {weights.digest("body")} for stage in ("embed", "track")}


def test_single_frames_are_refined_by_the_embedded_head_for_them() -> None:
    alone = with_weights(params(paths={"tau": 0}), {})
    assert alone["refine"].model_dump()["refinement"] == weights.digest("self-refinement")
    assert alone["refine"].model_dump()["matching"] is None
    back = with_other_weights(alone, {**alone, "paths": type(alone["paths"])(tau=5)}, {})
    assert back["refine"].model_dump()["refinement"] == weights.digest("refinement")


def test_embedded_heads_fit_the_embedded_network() -> None:
    used = set()
    for sections in ({}, {"paths": {"tau": 0}}, {"track": {"similarity": "tbm"}}):
        found = with_weights(params(**sections), {})
        check_weights(found, weights.locate, {})
        used |= set(digests_of(found).values())
    assert used == {weights.digest(name) for name in ("matching", "body", "refinement", "self-refinement")}


@pytest.mark.parametrize("role", ["matching", "refinement"])
def test_a_users_head_takes_the_place_of_the_embedded_one(role: Role) -> None:
    found = with_weights(params(), {role: ALL[role]})
    embedded = {name: weights.digest(name) for name in ("matching", "refinement")}
    assert digests_of(found) == {**embedded, role: ALL[role]}
    given = with_weights(params(paths={"tau": 0}), {"refinement": embedded["refinement"]})
    assert digests_of(given)["refinement"] == embedded["refinement"], "what is given is taken, or refused, but never exchanged"


HRNET = {"estimate": params(estimate={"network": "hrnet-w48"})["estimate"]}
WITHOUT_HEADS: dict[str, tuple[dict[str, Any], dict[Role, str]]] = {
    "poses from a file": ({"poses": GivenParams(sha256=OTHER)}, {}),
    "poses from a file, and heads": ({"poses": GivenParams(sha256=OTHER)}, ALL),
    "another network": (HRNET, {"pose": OTHER}),
    "another network, and half of what refines": (HRNET, {"pose": OTHER, "refinement": ALL["refinement"]}),
}


@pytest.mark.parametrize("name", WITHOUT_HEADS)
def test_where_there_are_no_heads_oks_tracks_without_memory_and_nothing_is_refined(name: str) -> None:
    changed, digests = WITHOUT_HEADS[name]
    found = with_weights({**params(), **changed}, digests)
    tracked, refined = found["track"].model_dump(), found["refine"].model_dump()
    assert (tracked["similarity"], tracked["memory_frames"], tracked["memory_similarity"]) == ("oks", 0, 0.1)
    assert (tracked["head"], refined["on"], refined["refinement"]) == (None, False, None)
    kept = with_weights({**params(track={"memory_frames": 7, "iou_gate": 0.2}), **changed}, digests)["track"].model_dump()
    assert (kept["similarity"], kept["memory_frames"], kept["iou_gate"]) == ("oks", 7, 0.2), "what is set stays"
    for asked in ({"track": {"similarity": "tkm"}}, {"refine": {"on": True}}):
        with pytest.raises(HeadsError, match=r"looks at features|needs a"):
            with_weights({**params(**asked), **changed}, digests)


def test_each_default_is_left_out_by_itself() -> None:
    of_hrnet: dict[Role, str] = {"pose": OTHER, "matching": ALL["matching"]}
    matched = with_weights({**params(), **HRNET}, of_hrnet)
    assert digests_by_stage(matched) == {
        "estimate": {OTHER}, "embed": {ALL["matching"]}, "track": {ALL["matching"]},
    }  # fmt: skip
    refining: dict[Role, str] = {"pose": OTHER, "refinement": ALL["refinement"]}
    alone = with_weights({**params(paths={"tau": 0}), **HRNET}, refining)
    assert digests_of(alone) == refining
    assert alone["track"].model_dump()["similarity"] == "oks"


def test_oks_and_no_refinement_need_no_heads_and_remember_nobody() -> None:
    found = with_weights(params(**OKS, **UNREFINED), {})
    assert digests_by_stage(found) == {}
    assert found["track"].model_dump()["memory_frames"] == 0


def test_an_embedded_head_does_not_go_to_another_network() -> None:
    before = with_weights(params(), {})
    with pytest.raises(HeadsError, match="tkm needs a matching head that was trained for hrnet-w48"):
        with_other_weights(before, {**before, **HRNET}, {"pose": OTHER})


def test_poses_from_a_file_have_no_features_and_boxes_have() -> None:
    tkm = params(track={"similarity": "tkm"})
    with pytest.raises(HeadsError, match=r"--track-similarity tkm looks at features.*--detections"):
        with_weights({**tkm, "poses": GivenParams(sha256=OTHER)}, ALL)
    assert with_weights({**tkm, "boxes": GivenParams(sha256=OTHER)}, ALL)["track"].head == ALL["matching"]  # type: ignore[attr-defined]


def test_networks_without_embedded_weights_need_a_file() -> None:
    with pytest.raises(HeadsError, match=r"hrnet-w48 has no embedded weights.*--pose-weights FILE"):
        with_weights(params(estimate={"network": "hrnet-w48"}), {})
    with pytest.raises(HeadsError, match=r"faster-rcnn-resnet-101 has no embedded weights.*--detector-weights FILE"):
        with_weights(params(detect={"network": "faster-rcnn-resnet-101"}), {})
    with pytest.raises(HeadsError, match=r"--detector-weights is not for nanodet.*--detect-network"):
        with_weights(params(), {"detector": OTHER})
    own: dict[Role, str] = {"pose": OTHER, "detector": "8" * 64}
    chosen = {"estimate": {"network": "hrnet-w48"}, "detect": {"network": "faster-rcnn-resnet-101"}}
    assert digests_by_stage(with_weights(params(**chosen), own)) == {"estimate": {OTHER}, "detect": {"8" * 64}}


def test_networks_that_do_not_run_need_no_file_and_one_that_is_given_is_noted() -> None:
    boxes = {**params(detect={"network": "faster-rcnn-resnet-101"}, **OKS, **UNREFINED), "boxes": GivenParams(sha256=OTHER)}
    assert digests_by_stage(with_weights(boxes, {"detector": OTHER})) == {"boxes": {OTHER}}
    assert unused(boxes, ["detector"]) == ["--detector-weights is not used: boxes or poses are given"]
    poses = {**params(estimate={"network": "hrnet-w48"}), "poses": GivenParams(sha256=OTHER)}
    assert digests_by_stage(with_weights(poses, {})) == {"poses": {OTHER}}


def test_a_change_keeps_the_heads_there_were_and_takes_new_ones_in_their_place() -> None:
    before = with_weights(params(track={"similarity": "tkm"}, refine={"on": True}), ALL)
    oks = {**before, "track": type(before["track"])(similarity="oks")}
    assert digests_of(with_other_weights(before, oks, {})) == {role: ALL[role] for role in ("matching", "refinement")}
    other = with_other_weights(before, before, {"refinement": OTHER})
    assert digests_of(other) == {"matching": ALL["matching"], "refinement": OTHER}
    network = type(before["estimate"])
    of_file = with_weights({**params(), "estimate": network(network="resnet-50")}, {"pose": OTHER})
    back = with_other_weights(of_file, {**of_file, "estimate": network()}, {})
    assert digests_of(back) == {}, "another network takes nothing of the one before it"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Head files of random weights that fit the embedded network, and such as do not."""
    folder = tmp_path_factory.mktemp("heads")
    usual: dict[str, tuple[Any, dict[str, Any]]] = {
        "matching": ("matching", {}),
        "refinement": ("refinement", {}),
        "of single frames": ("refinement", {"tau": 0}),
        "by weights": ("refinement", {"divisor": "weights"}),
        "body": ("body", {}),
        "of another network": ("matching", {"network": "hrnet-w32"}),
        "of other weights": ("matching", {"pose_sha256": OTHER}),
        "of another skeleton": ("matching", {"skeleton": "posetrack_15"}),
    }
    return {name: save_random_head(folder / name, kind, **facts) for name, (kind, facts) in usual.items()}


REFINED = {"track": {"similarity": "tkm"}, "refine": {"on": True}}


@pytest.mark.parametrize(
    ("heads", "tau", "said"),
    [
        ({}, 5, None),
        ({"refinement": "of single frames"}, 0, None),
        ({"matching": "body"}, 5, "is a body head, and a matching head is needed"),
        ({"matching": "of another network"}, 5, "was trained on features of hrnet-w32, and poses come from movenet-thunder"),
        ({"matching": "of other weights"}, 5, f"with the weights {OTHER[:8]}.*the weights {MOVENET[:8]}"),
        ({"matching": "of another skeleton"}, 5, "trained for the skeleton posetrack_15"),
        ({"refinement": "of single frames"}, 5, "trained on single frames, and --paths-tau is 5"),
        ({}, 0, "trained over windows of 5 frames.*--paths-tau is 0.*give --paths-tau 5"),
        ({"refinement": "by weights"}, 5, "by 1 . the sum of W, and --refine-divisor is window.*give --refine-divisor weights"),
        ({"refinement": "by weights"}, 0, "trained over windows of 5 frames"),
    ],
)
@pytest.mark.parametrize("is_given", [True, False], ids=["given now", "of an earlier run"])
def test_heads_that_do_not_fit_are_named(
    files: dict[str, Path], heads: dict[Role, str], tau: int, said: str | None, is_given: bool
) -> None:
    chosen: dict[Role, str] = {"matching": "matching", "refinement": "refinement", **heads}
    digests: dict[Role, str] = {role: f"{n}" * 64 for n, role in enumerate(chosen)}
    located = {digests[role]: files[name] for role, name in chosen.items()}
    placed = with_weights(params(**REFINED, paths={"tau": tau}), digests)
    if said is None:
        check_weights(placed, located.__getitem__, chosen if is_given else {})
        return
    role = next(iter(heads), "refinement")
    where = f"^--{role}-weights {chosen[role]} " if is_given else f"^the run's {role} head {digests[role][:8]} "
    with pytest.raises(WeightsError, match=f"{where}.*{said}") as caught:
        check_weights(placed, located.__getitem__, chosen if is_given else {})
    assert str(files["matching"].parent) not in str(caught.value), "the copy in the cache is not what the user knows"


@pytest.mark.parametrize(
    ("head", "tau", "said"),
    [
        ("by weights", 5, None),
        ("refinement", 5, "divided by the window's length, and --refine-divisor is weights.*give --refine-divisor window"),
        ("of single frames", 0, None),  # where there is nothing to divide
    ],
)
def test_a_refinement_head_goes_with_the_divisor_of_its_training(
    files: dict[str, Path], head: str, tau: int, said: str | None
) -> None:
    digests: dict[Role, str] = {"matching": "1" * 64, "refinement": "3" * 64}
    located = {digests["matching"]: files["matching"], digests["refinement"]: files[head]}
    placed = with_weights(params(refine={"on": True, "divisor": "weights"}, paths={"tau": tau}), digests)
    if said is None:
        check_weights(placed, located.__getitem__, {})
        return
    with pytest.raises(WeightsError, match=f"^the run's refinement head 33333333 was trained with sums {said}"):
        check_weights(placed, located.__getitem__, {})


def test_a_given_file_that_is_no_head_is_named_as_the_user_knows_it(tmp_path: Path) -> None:
    copy = tmp_path / ("0" * 64)
    copy.write_bytes(b"no head")
    placed = with_weights(params(track={"similarity": "tkm"}), {"matching": "0" * 64})
    with pytest.raises(WeightsError, match=r"--matching-weights mine\.pth is damaged or no safetensors file"):
        check_weights(placed, lambda _: copy, {"matching": "mine.pth"})
