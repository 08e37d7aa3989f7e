"""Presets, and mixtures of them."""

from __future__ import annotations

import pytest

from tkm.synthetic.scenario import PRESETS, scenario_of


def test_a_mixture_is_as_hard_as_the_harder_of_its_parts() -> None:
    crowd, camera, mixture = scenario_of("crowd"), scenario_of("camera"), scenario_of("crowd+camera")
    assert mixture.people == crowd.people
    assert mixture.twins == crowd.twins == 0.3
    assert (mixture.pan_deg, mixture.zoom, mixture.shake_px) == (camera.pan_deg, camera.zoom, camera.shake_px)
    assert mixture.spacing_m == min(crowd.spacing_m, camera.spacing_m)
    assert mixture.crf == (22, 32)


@pytest.mark.parametrize("preset", PRESETS)
def test_easy_adds_nothing_and_order_does_not_matter(preset: str) -> None:
    assert scenario_of(f"easy+{preset}") == scenario_of(preset) == scenario_of(f"{preset}+easy")
    assert scenario_of(f"twins+{preset}") == scenario_of(f"{preset}+twins")


@pytest.mark.parametrize("preset", ["hard", "crowd+hard", "", "crowd+", "Crowd"])
def test_an_unknown_preset_is_named_and_the_known_are_told(preset: str) -> None:
    with pytest.raises(ValueError, match=r"no preset '(hard|Crowd)?'; choose from easy, crowd, twins, dance, camera"):
        scenario_of(preset)


def test_only_the_camera_preset_moves_the_camera() -> None:
    moving = [preset for preset in PRESETS if scenario_of(preset).pan_deg[1] or scenario_of(preset).shake_px[1]]
    assert moving == ["camera"]
