"""Rows of the ablation: what each one sets, what it needs, and that they share what they may."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flows.ablation_rows import BY_NAME, ROWS, needs, row_params, rows_named
from flows.settings import SettingsError
from tasks import embed
from tasks.pipeline import PIPELINE
from tasks.stage import Params
from tasks.tuning import Setting

DIGESTS = {"matching": "a" * 64, "body": "b" * 64, "refinement": "c" * 64, "self-refinement": "d" * 64}
SETTING = Setting(0.2, 0.3, 0.4)


@pytest.fixture
def params() -> dict[str, Params]:
    return {stage.name: stage.Params() for stage in PIPELINE}


def test_rows_are_those_of_the_papers_tables() -> None:
    ours = ["G2", "G3", "G5", "G7"]
    assert [row.name for row in ROWS] == [*(f"M{n}" for n in range(1, 10)), *ours, *(f"N{n}" for n in range(1, 7))]
    assert all((row.paper is None) == row.memory for row in ROWS), "memory is ours"
    for row in ROWS:
        for other in row.against:
            assert ROWS.index(BY_NAME[other]) < ROWS.index(row), "a difference is to a row above"


def test_names_choose_rows_in_the_tables_order_and_unknown_ones_are_named() -> None:
    assert [row.name for row in rows_named(["M5", "M1"])] == ["M1", "M5"]
    with pytest.raises(SettingsError, match="--rows M0,X: there is no such row; choose of M1,"):
        rows_named(["M1", "M0", "X"])
    with pytest.raises(SettingsError, match="--rows: name some"):
        rows_named([])


@pytest.mark.parametrize(
    ("name", "suppress", "similarity", "refined", "tau"),
    [
        ("M1", {"method": "cnms", "cnms_iou": 0.2, "min_pose_score": 0.3}, "iou", False, 5),
        ("M3", {"method": "pnms", "pnms_distance": 0.2, "min_pose_score": 0.3}, "oks", False, 5),
        ("M4", {"method": "pnms"}, "tbm", False, 5),
        ("M5", {"method": "pnms"}, "tkm", False, 5),
        ("M6", {"method": "pnms"}, "tkm", True, 0),
        ("M7", {"method": "pnms"}, "tkm", True, 5),
    ],
)
def test_a_row_is_its_parameters(
    params: dict[str, Params], name: str, suppress: dict[str, object], similarity: str, refined: bool, tau: int
) -> None:
    found = row_params(params, BY_NAME[name], SETTING, DIGESTS)
    assert suppress.items() <= found["suppress"].model_dump().items()
    assert found["track"].model_dump()["similarity"] == similarity
    assert found["refine"].model_dump()["on"] == refined
    assert found["paths"].model_dump()["tau"] == tau
    assert embed.STAGE.is_active(found) == (name in ("M4", "M5", "M6", "M7"))


def test_rows_that_look_at_features_share_them_and_self_refinement_has_its_own_head(params: dict[str, Params]) -> None:
    rows = [BY_NAME[name] for name in ("M4", "M5", "M6", "M7")]
    embeds = {row.name: row_params(params, row, SETTING, DIGESTS)["embed"].model_dump() for row in rows}
    assert embeds["M4"] == embeds["M5"] == embeds["M7"]
    assert embeds["M5"] == {"matching": "a" * 64, "body": "b" * 64, "refinement": "c" * 64}
    assert embeds["M6"]["refinement"] == "d" * 64
    refine = row_params(params, BY_NAME["M6"], SETTING, DIGESTS)["refine"].model_dump()
    assert (refine["refinement"], refine["matching"]) == ("d" * 64, None), "single frames are matched with none"


def test_rows_of_the_paper_have_no_memory_whatever_the_settings_and_ours_have_one(params: dict[str, Params]) -> None:
    track = next(stage for stage in PIPELINE if stage.name == "track")
    remembering = {**params, "track": track.Params(similarity="oks", memory_frames=9)}
    none = row_params(remembering, BY_NAME["M5"], SETTING, DIGESTS)["track"].model_dump()
    assert (none["memory_frames"], none["memory_similarity"]) == (0, 0.5), "the similarity's own default, not that of oks"
    some = row_params(remembering, BY_NAME["G5"], replace(SETTING, memory_frames=60, memory_similarity=0.7), DIGESTS)
    assert {"memory_frames": 60, "memory_similarity": 0.7}.items() <= some["track"].model_dump().items()
    refined = [row_params(params, BY_NAME[name], SETTING, DIGESTS)["refine"] for name in ("M7", "G7")]
    assert refined[0] == refined[1]


def test_settings_that_a_row_cannot_have_are_named(params: dict[str, Params]) -> None:
    track = next(stage for stage in PIPELINE if stage.name == "track")
    weighed = {**params, "track": track.Params(similarity="tkm", by_confidence=True)}
    with pytest.raises(SettingsError, match="row M1: track: by_confidence weighs the keypoints of similarity tkm"):
        row_params(weighed, BY_NAME["M1"], SETTING, DIGESTS)


def test_a_row_says_which_files_and_data_it_needs(params: dict[str, Params]) -> None:
    assert needs(BY_NAME["M3"], params, ()) is None
    assert needs(BY_NAME["M7"], params, ("matching", "refinement")) is None
    assert needs(BY_NAME["M7"], params, ("body",)) == (
        "--matching-weights FILE, a head trained on movenet-thunder; --refinement-weights FILE, a head trained on movenet-thunder"
    )
    assert "--self-refinement-weights FILE" in (needs(BY_NAME["M6"], params, ("matching", "refinement")) or "")
    lack = needs(BY_NAME["N3"], params, ()) or ""
    for part in (
        "--detect-network faster-rcnn-resnext-101 with its checkpoint (--detector-weights FILE)",
        "--estimate-network hrnet-w48 with its checkpoint (--pose-weights FILE)",
        "--body-weights FILE, a head trained on hrnet-w48",
        "PoseTrack 2018",
    ):
        assert part in lack
    stages = {stage.name: stage for stage in PIPELINE}
    theirs = {
        **params,
        "detect": stages["detect"].Params(network="faster-rcnn-resnext-101"),
        "estimate": stages["estimate"].Params(network="hrnet-w48"),
    }
    assert needs(BY_NAME["N3"], theirs, ("body",)) is None
