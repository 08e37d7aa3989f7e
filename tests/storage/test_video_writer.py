"""MP4 files of given pictures: what is decoded is what was written, and equal pictures make equal files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from storage.sources import Source
from storage.video import decode, probe
from storage.video_writer import mp4_writer
from tkm.geometry import Image


def pictures(number: int, width_px: int, height_px: int) -> list[Image]:
    """Smooth colours that move."""
    y, x = np.mgrid[:height_px, :width_px]
    ramps = ((x + y + 9 * n) % 256 for n in range(number))
    return [np.stack([ramp, ramp // 2 + 60, 255 - ramp], axis=2).astype(np.uint8) for ramp in ramps]


def textured_pictures(number: int, width_px: int, height_px: int) -> list[Image]:
    """A moving camera, something that crosses, and noise: what rendered clips are like, and what coders decide differently."""
    rng = np.random.default_rng(0)
    grain = rng.integers(0, 256, (height_px, width_px + 2 * number, 3)).astype(np.float32)
    texture = np.clip(cv2.GaussianBlur(grain, (0, 0), 2.0) * 3 - 256, 0, 255)
    images = []
    for n in range(number):
        image = texture[:, 2 * n : 2 * n + width_px].copy()
        left = 5 * n % (width_px - 20)
        image[20:70, left : left + 20] = texture[:50, :20]
        images.append(np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8))
    return images


def write(path: Path, images: list[Image], rate: Fraction, threads: int, crf: int = 12) -> bytes:
    height_px, width_px, _ = images[0].shape
    with mp4_writer(path, width_px, height_px, rate, 1 / rate, crf=crf, threads=threads) as add:
        for number, image in enumerate(images):
            add(image, number)
    return path.read_bytes()


@pytest.mark.parametrize("rate", [Fraction(20), Fraction(30000, 1001), Fraction("12.5")])
def test_pictures_come_back_at_their_times_in_their_colours(tmp_path: Path, rate: Fraction) -> None:
    images = pictures(9, 160, 96)
    write(tmp_path / "a.mp4", images, rate, 1)
    source = Source(str(tmp_path / "a.mp4"))
    info = probe(source)
    assert (info.width_px, info.height_px, len(info)) == (160, 96, 9)
    np.testing.assert_allclose(info.pts_ns, [float(n / rate * 10**9) for n in range(9)], atol=1e5)
    found = np.stack([image for _, image in decode(source, info, np.arange(9))])
    assert np.abs(found.astype(int) - np.stack(images)).mean() < 4
    with av.open(source.uri) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)


def test_one_thread_writes_equal_bytes(tmp_path: Path) -> None:
    images = textured_pictures(40, 160, 96)
    found = set()
    for n in range(24):
        # What is encoded, and lies in memory, before must not matter.
        others = [np.random.default_rng(n).integers(0, 256, (n + 1) * 100_000, dtype=np.uint8) for _ in range(5)]
        found.add(write(tmp_path / "a.mp4", images, Fraction(20), 1, crf=24))
        del others
    assert len(found) == 1


def test_odd_sides_repeat_the_edge(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", pictures(2, 65, 71), Fraction(20), 0)
    info = probe(Source(str(tmp_path / "a.mp4")))
    assert (info.width_px, info.height_px) == (66, 72)
