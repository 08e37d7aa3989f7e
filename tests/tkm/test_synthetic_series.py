"""Series of clips: which clips a number of videos, a seed and presets mean, and what the fixed splits are."""

from __future__ import annotations

from typing import Any

import pytest

from tkm.synthetic.scenario import PRESETS
from tkm.synthetic.series import SPLITS, Series


def test_clips_take_the_presets_in_turn_and_do_not_depend_on_how_many_there_are() -> None:
    few, many = (list(Series(videos, seed=3, presets=("easy", "crowd+camera")).specs()) for videos in (3, 8))
    assert [spec.preset for spec in many[:4]] == ["easy", "crowd+camera", "easy", "crowd+camera"]
    assert [spec.number for spec in many] == list(range(8))
    assert many[:3] == few


def test_splits_have_what_scores_are_compared_on_and_nobody_in_common() -> None:
    val, train = (list(SPLITS[name].specs()) for name in ("val", "train"))
    assert (len(val), len(train)) == (60, 400)
    for specs in (val, train):
        assert {spec.preset for spec in specs} == set(PRESETS)
        assert {(spec.frames, spec.width_px, spec.height_px, spec.people) for spec in specs} == {(60, 960, 540, None)}
    assert ({spec.domain for spec in val}, {spec.domain for spec in train}) == ({"val"}, {"train"})
    assert {spec.seed for spec in val}.isdisjoint(spec.seed for spec in train)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"videos": 0}, "videos must be 1 to 1,000,000, not 0"),
        ({"seed": -1}, "seed must be"),
        ({"frames": 10_001}, "frames must be 1 to 10,000"),
        ({"fps": float("nan")}, "fps must be 1 to 240, not nan"),
        ({"width_px": 8}, "width must be"),
        ({"people": 0}, "people must be"),
        ({"twins": 1.5}, "twins must be 0 to 1, not 1.5"),
        ({"presets": ()}, "there must be a preset"),
        ({"presets": ("easy", "crowd+hard")}, "no preset 'hard'"),
    ],
)
def test_what_no_clip_can_be_is_named(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("+", r"\+")):
        Series(**{"videos": 1, **wrong})
