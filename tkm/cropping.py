"""Crops cut on the device where the network runs: what `tkm.geometry.cut_crops` does on the processor, in torch.

Both take the same windows of a frame and average the same 2 x 2 pixels. What differs is rounding: measured on real frames with
OpenCV 5, one grey level in one of 100,000 values.

Shape legend: P crops of h x w pixels, S pixels of a window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tkm.geometry import GREY, Crops, crop_windows
from tkm.types import Float

if TYPE_CHECKING:
    from torch import Tensor


def cut_crops(
    image: Tensor,
    crops: Crops,
    box_xyxy_px: Float,
    size_px: tuple[int, int] = (256, 256),
    grey_margin: float | None = 0.05,
    fill: int = GREY,
) -> Tensor:
    """Resample crops of a frame to one size; what is outside the frame, or not the person's, is blank.

    Args: image (H, W, 3) uint8, on any device; the others as `tkm.geometry.cut_crops` takes them.
    Returns: (P, h, w, 3) uint8 on the image's device.
    Raises: ValueError for a bad image or box, or where crops and boxes differ in number.
    """
    import torch  # here: see tkm.networks.runtime

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != torch.uint8 or 0 in image.shape:
        raise ValueError(f"image must be (H, W, 3) uint8 with at least one pixel, not {tuple(image.shape)} {image.dtype}")
    windows = crop_windows((image.shape[0], image.shape[1]), crops, box_xyxy_px, size_px, grey_margin)
    cut = image.new_full((len(crops), *size_px, 3), fill)
    extent = windows.high - windows.low
    for halvings in np.unique(windows.halvings):
        rows = np.flatnonzero((windows.halvings == halvings) & (extent > 0).all(axis=1))
        if not len(rows):
            continue
        shrink = 2 ** int(halvings)
        source = _framed(image, windows.low[rows], windows.high[rows], border=shrink, fill=fill)
        for _ in range(halvings):
            source = _halved(source)
        # The centre of crop pixel u lies at corner + (u + 0.5) * step, that of source pixel i, without its border, at i + 0.5.
        corner = (crops.left_top_px[rows].astype(np.float64) - windows.low[rows]) / shrink
        step = windows.step[rows] / shrink
        across, down = (
            corner[:, axis, None] + (np.arange(size) + 0.5) * step[:, axis, None] - 0.5
            for axis, size in ((0, size_px[1]), (1, size_px[0]))
        )
        size = extent[rows] // shrink
        cut[torch.from_numpy(rows).to(image.device)] = _sampled(source, across, down, size)
    return cut


def _framed(image: Tensor, low: NDArray[np.int64], high: NDArray[np.int64], border: int, fill: int) -> Tensor:
    """(P, S, S', 3) uint8: each window of the image with a border of `fill` around, and more of it up to the largest's size."""
    height, width = (int(extent) for extent in (high - low).max(axis=0)[::-1])
    framed = image.new_full((len(low), height + 2 * border, width + 2 * border, 3), fill)
    for p, ((x0, y0), (x1, y1)) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        framed[p, border : border + y1 - y0, border : border + x1 - x0] = image[y0:y1, x0:x1]
    return framed


def _halved(source: Tensor) -> Tensor:
    """(P, S, S', 3) to (P, S / 2, S' / 2, 3) uint8: means of 2 x 2 pixels, rounded as OpenCV's area average rounds them."""
    import torch

    source = source[:, : source.shape[1] // 2 * 2, : source.shape[2] // 2 * 2].to(torch.int16)
    rows = source[:, ::2] + source[:, 1::2]
    return ((rows[:, :, ::2] + rows[:, :, 1::2] + 2) >> 2).to(torch.uint8)


def _sampled(source: Tensor, across: NDArray[np.float64], down: NDArray[np.float64], size: NDArray[np.int64]) -> Tensor:
    """Bilinear samples of windows that have a border of one pixel: (P, h, w, 3) uint8.

    Args: source (P, S, S', 3) uint8; across (P, w) and down (P, h), positions in pixels of the windows without border;
        size (P, 2), width and height of each window without border. Beyond its border a window is what its border is.
    """
    import torch

    def taps(position: NDArray[np.float64], length: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        before = np.floor(position)
        first, second = (np.clip(before + side, -1, length[:, None]).astype(np.int64) + 1 for side in (0, 1))
        share = (position - before).astype(np.float32)
        return tuple(torch.from_numpy(values).to(source.device) for values in (first, second, share))  # type: ignore[return-value]

    left, right, x = taps(across, size[:, 0])
    above, below, y = taps(down, size[:, 1])
    p = torch.arange(len(source), device=source.device)[:, None, None]
    x, y = x[:, None, :, None], y[:, :, None, None]

    def row(index: Tensor) -> Tensor:
        index = index[:, :, None]
        start, end = source[p, index, left[:, None]].float(), source[p, index, right[:, None]].float()
        return start + (end - start) * x

    top, bottom = row(above), row(below)
    return (top + (bottom - top) * y + 0.5).clamp(0, 255).to(torch.uint8)
