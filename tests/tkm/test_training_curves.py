"""A training's picture."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import pytest

from tkm.training.curves import draw_curves


class One(NamedTuple):
    epoch: int
    split: str
    name: str
    value: float


def test_the_picture_has_a_panel_a_metric_and_no_seconds() -> None:
    def picture(*names: str) -> np.ndarray:
        metrics = [One(epoch, "train", name, 1 / (epoch + 1)) for epoch in range(4) for name in names]
        return cv2.imdecode(np.frombuffer(draw_curves(metrics, "pose"), np.uint8), cv2.IMREAD_COLOR)

    one, three = picture("loss"), picture("loss", "lr", "pck")
    assert three.shape[1] == 3 * one.shape[1]
    assert len(np.unique(one)) > 10
    np.testing.assert_array_equal(picture("loss", "seconds"), one)


def test_no_metric_is_an_error() -> None:
    with pytest.raises(ValueError, match="no metric"):
        draw_curves([], "pose")
